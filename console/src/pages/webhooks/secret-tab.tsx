import { lazy, Suspense, useState } from 'react';
import type { Webhook } from 'rowhook/client';
import { answerOf, client } from '../../api/client.ts';
import { useWrite } from '../../api/queries.ts';
import { useOrganization } from '../../layout/organization.ts';
import { useSession } from '../../session/session.tsx';
import { Button } from '../../ui/button.tsx';
import { Confirm } from '../../ui/dialog.tsx';
import { SelectField } from '../../ui/field.tsx';
import { Loading, Notice } from '../../ui/states.tsx';
import { keepSecret } from './new-secret.tsx';

const Receivers = lazy(() => import('./receivers.tsx'));

export function SecretTab({ webhook }: { webhook: Webhook }) {
  const { mayWrite } = useSession();
  const { org } = useOrganization();
  const [isAsking, setAsking] = useState(false);
  const [overlap, setOverlap] = useState('86400');
  const rotate = useWrite(() =>
    answerOf(
      client.POST('/api/v1/{org}/outgoing-webhooks/{id}/rotate-secret', {
        params: { path: { org, id: webhook.id } },
        body: { overlap_seconds: Number(overlap) },
      }),
    ),
  );
  return (
    <>
      <section className="card part">
        <h2>Signing secret</h2>
        <p>
          Each request is signed with it, so that your receiver can tell our requests from those of others. It cannot be
          read again. If it is lost, or somebody else has it, make a new one: until the time you choose, requests carry
          both signatures, and nothing is lost while you exchange it.
        </p>
        {mayWrite && (
          <div>
            <Button onClick={() => setAsking(true)}>Make a new secret</Button>
          </div>
        )}
      </section>
      <section className="card part">
        <h2>Check the signature</h2>
        <p className="muted">
          Complete receivers, which answer 401 to everything that is not ours. Put the secret into{' '}
          <code>WEBHOOK_SECRET</code>.
        </p>
        <Suspense
          fallback={
            <div className="receivers-loading">
              <Loading />
            </div>
          }
        >
          <Receivers />
        </Suspense>
      </section>
      {isAsking && (
        <Confirm
          title="Make a new secret?"
          action="Make it"
          isBusy={rotate.isPending}
          onClose={() => setAsking(false)}
          onConfirm={() =>
            rotate.mutate(undefined, {
              onSuccess: ({ secret }) => {
                keepSecret(webhook.id, secret);
                setAsking(false);
              },
            })
          }
        >
          <SelectField
            label="The old one also signs"
            value={overlap}
            onChange={setOverlap}
            options={[
              ['86400', 'for 24 hours'],
              ['604800', 'for 7 days'],
              ['3600', 'for one hour'],
              ['0', 'no longer: somebody else has it'],
            ]}
          />
          {rotate.isError && <Notice kind="bad">{rotate.error.message}</Notice>}
        </Confirm>
      )}
    </>
  );
}
