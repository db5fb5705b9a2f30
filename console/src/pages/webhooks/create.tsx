import { useNavigate, useSearchParams } from 'react-router';
import { answerOf, client } from '../../api/client.ts';
import { useWrite } from '../../api/queries.ts';
import { useOrganization } from '../../layout/organization.ts';
import { useSession } from '../../session/session.tsx';
import { Button } from '../../ui/button.tsx';
import { PageHead } from '../../ui/head.tsx';
import { Notice } from '../../ui/states.tsx';
import { bodyOf, type Draft, EMPTY } from './draft.ts';
import { WebhookForm } from './form.tsx';
import { keepSecret } from './new-secret.tsx';

export default function CreatePage() {
  const { mayWrite } = useSession();
  const { to, path } = useOrganization();
  const navigate = useNavigate();
  const asked = useSearchParams()[0].get('event_type');
  const create = useWrite((draft: Draft) =>
    answerOf(client.POST('/api/v1/{org}/outgoing-webhooks', { params: { path }, body: bodyOf(draft) })),
  );
  return (
    <>
      <PageHead title="Create webhook" back={{ to: to('/webhooks'), text: 'Webhooks' }}>
        Only the first three fields are needed. Everything can be changed later.
      </PageHead>
      {mayWrite ? (
        <WebhookForm
          start={{ ...EMPTY, event_types: asked === null ? [] : [asked] }}
          isNew
          submitText="Create"
          onSubmit={async (draft) => {
            const { id, secret } = await create.mutateAsync(draft);
            keepSecret(id, secret);
            navigate(to(`/webhooks/${id}`));
          }}
          cancel={<Button onClick={() => navigate(to('/webhooks'))}>Cancel</Button>}
        />
      ) : (
        <Notice kind="warn">You may only read here. Ask for a key, or a link, that may write.</Notice>
      )}
    </>
  );
}
