import { useState } from 'react';
import { client, RowhookError } from '../../api/client.ts';
import { type StoredWebhook, storedOf, useWrite } from '../../api/queries.ts';
import { useOrganization } from '../../layout/organization.ts';
import { useSession } from '../../session/session.tsx';
import { Notice } from '../../ui/states.tsx';
import { bodyOf, type Draft, draftOf } from './draft.ts';
import { WebhookForm } from './form.tsx';

/** The form keeps what it began with, so that a read in the background does not undo what is typed. */
export function SettingsTab({ stored }: { stored: StoredWebhook }) {
  const [start, setStart] = useState(stored);
  const [saved, setSaved] = useState(0);
  const { mayWrite } = useSession();
  const { org } = useOrganization();
  const { webhook, etag, filter } = start;
  const save = useWrite((draft: Draft) =>
    storedOf(
      client.PATCH('/api/v1/{org}/outgoing-webhooks/{id}', {
        params: { path: { org, id: webhook.id } },
        body: bodyOf(draft),
        headers: etag === null ? {} : { 'if-match': etag },
      }),
    ),
  );
  const isStale = save.error instanceof RowhookError && save.error.code === 'precondition_failed';
  return (
    <>
      {!mayWrite && <Notice kind="info">You may only read here.</Notice>}
      {isStale && (
        <Notice kind="warn">
          Somebody else changed this webhook meanwhile.{' '}
          <button type="button" className="as-link" onClick={() => window.location.reload()}>
            Load it again
          </button>
          , then make your changes.
        </Notice>
      )}
      {saved > 0 && !save.isError && !save.isPending && (
        <Notice kind="ok">Saved. It holds from the next event on.</Notice>
      )}
      <WebhookForm
        key={saved}
        start={draftOf(webhook, filter)}
        submitText="Save"
        isDisabled={!mayWrite}
        onSubmit={async (draft) => {
          setStart(await save.mutateAsync(draft));
          setSaved((count) => count + 1);
        }}
      />
    </>
  );
}
