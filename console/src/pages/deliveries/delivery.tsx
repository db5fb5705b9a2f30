/** One delivery: from the change to the answer, every attempt, and what happens next. */
import { useQuery } from '@tanstack/react-query';
import { Link, useParams } from 'react-router';
import { type Attempt, textOf } from 'rowhook/client';
import { answerOf, client } from '../../api/client.ts';
import { useAttempt, useWrite } from '../../api/queries.ts';
import { useOrganization } from '../../layout/organization.ts';
import { useSession } from '../../session/session.tsx';
import { useAddress } from '../../ui/address.ts';
import { StatusBadge } from '../../ui/badge.tsx';
import { Button } from '../../ui/button.tsx';
import { CodeBlock } from '../../ui/code.tsx';
import { meaningOf } from '../../ui/codes.ts';
import { PageHead } from '../../ui/head.tsx';
import { Failure, Notice, Skeleton } from '../../ui/states.tsx';
import { At, ms, Sentence } from '../../ui/time.tsx';
import { AttemptView } from './attempt-view.tsx';
import { Explain } from './explain.tsx';
import { VerifySignature } from './verify.tsx';

export default function DeliveryPage() {
  const { delivery: id = '' } = useParams();
  const { org, key, to } = useOrganization();
  const { mayWrite } = useSession();
  const { get, set } = useAddress();
  const params = { path: { org, delivery_id: id } };
  const query = useQuery({
    queryKey: key('delivery', id),
    queryFn: async ({ signal }) => {
      const delivery = await answerOf(client.GET('/api/v1/{org}/deliveries/{delivery_id}', { params, signal }));
      return { delivery, event: textOf(delivery, 'event') ?? 'null' };
    },
    refetchInterval: ({ state }) => (state.data?.delivery.state === 'waiting' ? 2_000 : 15_000),
  });
  const retry = useWrite(() =>
    answerOf(client.POST('/api/v1/{org}/deliveries/{delivery_id}/retry', { params, body: {} })),
  );
  const found = query.data;
  const attempts = found?.delivery.attempts ?? [];
  const selected = attempts.find((one) => one.id === get('attempt')) ?? attempts.at(-1);
  const detail = useAttempt(selected?.id);

  if (found === undefined)
    return (
      <>
        <PageHead title={query.isError ? 'Delivery' : '…'} back={{ to: to('/deliveries'), text: 'Deliveries' }} />
        {query.isError ? <Failure error={query.error} onRetry={() => void query.refetch()} /> : <Skeleton />}
      </>
    );
  const { delivery, event } = found;
  return (
    <>
      <PageHead
        title={delivery.event_type}
        back={{ to: to(`/webhooks/${delivery.webhook_id}/deliveries`), text: delivery.webhook_name }}
        badge={<StatusBadge status={delivery.state} />}
        actions={
          mayWrite && (
            <Button isBusy={retry.isPending} onClick={() => retry.mutate()}>
              {delivery.state === 'waiting' ? 'Retry now' : 'Send again'}
            </Button>
          )
        }
      >
        <span className="wrap">
          <Sentence text={delivery.next} />
        </span>
      </PageHead>
      {retry.isError && <Notice kind="bad">{retry.error.message}</Notice>}
      {retry.isSuccess && <Notice kind="ok">It is queued, with the same ids. Its attempt appears below.</Notice>}
      <ol className="timeline card" aria-label="Timeline">
        {delivery.occurred_at && (
          <li className="step step-none">
            <span className="strong">Change</span>
            <At at={delivery.occurred_at} />
          </li>
        )}
        {attempts.map((attempt) => (
          <Step
            key={attempt.id}
            attempt={attempt}
            isSelected={attempt.id === selected?.id}
            onSelect={() => set({ attempt: attempt.id }, { replace: true })}
          />
        ))}
        {delivery.next_attempt_at && (
          <li className="step step-waiting">
            <span className="strong">Next attempt</span>
            <At at={delivery.next_attempt_at} />
          </li>
        )}
      </ol>
      {delivery.waits_for && (
        <Notice kind="info">
          It waits for <Link to={to(`/deliveries/${delivery.waits_for}`)}>an earlier delivery of the same row</Link>.
        </Notice>
      )}
      {detail.isError ? (
        <Failure error={detail.error} onRetry={() => void detail.refetch()} />
      ) : detail.data ? (
        <AttemptView attempt={detail.data} />
      ) : (
        selected && <Skeleton />
      )}
      <section className="card part">
        <h2>Event</h2>
        <p className="mono small wrap">{delivery.event_id}</p>
        {event === 'null' ? (
          <p className="muted">The event is older than 7 days, so it is no longer kept.</p>
        ) : (
          <CodeBlock label="Event" text={event} />
        )}
        <Explain event={delivery.event_id} webhook={delivery.webhook_id} />
      </section>
      {detail.data && <VerifySignature attempt={detail.data} />}
    </>
  );
}

function Step({ attempt, isSelected, onSelect }: { attempt: Attempt; isSelected: boolean; onSelect: () => void }) {
  return (
    <li className={`step step-${attempt.status}`}>
      <button type="button" className="step-button" aria-pressed={isSelected} onClick={onSelect}>
        <span className="strong">Attempt {attempt.attempt}</span>
        <span>
          {attempt.response_status === null ? meaningOf(attempt.code) : `HTTP ${attempt.response_status}`},{' '}
          {ms(attempt.duration_ms)}
        </span>
        <At at={attempt.attempted_at} />
      </button>
    </li>
  );
}
