/** Finds what an id of a log, or of the header webhook-id, belongs to. */
import { useState } from 'react';
import { useNavigate } from 'react-router';
import { useOrganization } from '../../layout/organization.ts';

export const EVENT_ID = /^evt_[0-9a-f]{1,32}_\d{1,18}_\d{1,4}$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export function FindById() {
  const { to } = useOrganization();
  const navigate = useNavigate();
  const [isWrong, setWrong] = useState(false);
  const find = (text: string) => {
    const id = text.trim();
    setWrong(id !== '' && !EVENT_ID.test(id) && !UUID.test(id));
    if (EVENT_ID.test(id)) navigate(to(`/events?id=${id}&event=${id}`));
    else if (UUID.test(id)) navigate(to(`/deliveries/${id}`));
  };
  return (
    <span className="grow">
      <input
        className="input input-small mono"
        type="search"
        aria-label="Find by id"
        aria-invalid={isWrong || undefined}
        aria-describedby={isWrong ? 'find-error' : undefined}
        placeholder="Id of an event or a delivery"
        spellCheck={false}
        onKeyDown={(event) => event.key === 'Enter' && find(event.currentTarget.value)}
      />
      {isWrong && (
        <span id="find-error" className="field-error small" role="alert">
          This is no id. One of an event begins with evt_, one of a delivery is a UUID.
        </span>
      )}
    </span>
  );
}
