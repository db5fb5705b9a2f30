/** Past events once more: choose a range, see the count, then queue, watch, cancel. */
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useParams } from 'react-router';
import type { ReplayProgress as Replay } from 'rowhook/client';
import { answerOf, client, RowhookError } from '../../api/client.ts';
import { useWebhook, useWrite } from '../../api/queries.ts';
import { useOrganization } from '../../layout/organization.ts';
import { useSession } from '../../session/session.tsx';
import { useAddress } from '../../ui/address.ts';
import { Button } from '../../ui/button.tsx';
import { Confirm } from '../../ui/dialog.tsx';
import { SelectField, TextField } from '../../ui/field.tsx';
import { PageHead } from '../../ui/head.tsx';
import { Failure, Notice, Skeleton } from '../../ui/states.tsx';
import { At } from '../../ui/time.tsx';

const RANGES = [
  ['1h', 'The last hour'],
  ['24h', 'The last 24 hours'],
  ['3d', 'The last 3 days'],
  ['7d', 'The last 7 days'],
  ['own', 'A range of your own'],
] as const;

const ONLY = [
  ['failed', 'Those that failed for good'],
  ['missed', 'Those that were never delivered'],
  ['all', 'All, also delivered ones'],
] as const;

const iso = (local: string) => (local === '' ? undefined : new Date(local).toISOString());

export default function ReplayPage() {
  const { id = '' } = useParams();
  const { to, org, key } = useOrganization();
  const { mayWrite } = useSession();
  const { get, set } = useAddress();
  const webhook = useWebhook(id);
  const params = { path: { org, id } };
  const range = get('range') || '24h';
  const only = ONLY.find(([name]) => name === get('only'))?.[0] ?? 'failed';
  const [from, until] = [get('from'), get('until')];
  const [counted, setCounted] = useState<number | null>(null);

  const progress = useQuery({
    queryKey: key('replay', id),
    queryFn: ({ signal }) =>
      answerOf(client.GET('/api/v1/{org}/outgoing-webhooks/{id}/replay', { params, signal })).catch(
        (error: unknown) => {
          if (error instanceof RowhookError && error.status === 404) return null;
          throw error;
        },
      ),
    refetchInterval: ({ state }) => (state.data?.is_running ? 1_000 : 10_000),
  });
  const body = () => ({
    only,
    since: range === 'own' ? (iso(from) ?? '') : range,
    ...(range === 'own' && until !== '' && { until: iso(until) ?? null }),
  });
  const send = (dry_run: boolean) =>
    answerOf(client.POST('/api/v1/{org}/outgoing-webhooks/{id}/replay', { params, body: { ...body(), dry_run } }));
  const dryRun = useWrite(async () => {
    const answer = await send(true);
    return 'count' in answer ? answer.count : answer.total;
  });
  const start = useWrite(() => send(false));
  const cancel = useWrite(() => answerOf(client.DELETE('/api/v1/{org}/outgoing-webhooks/{id}/replay', { params })));
  const isComplete = range !== 'own' || from !== '';

  const head = (
    <PageHead
      title="Replay"
      back={{ to: to(`/webhooks/${id}/deliveries`), text: webhook.data?.webhook.name ?? 'Webhook' }}
    >
      Sends past events again, with the same ids, after new ones. Events are kept for 7 days.
    </PageHead>
  );
  if (webhook.data === undefined)
    return (
      <>
        {head}
        {webhook.isError ? <Failure error={webhook.error} onRetry={() => void webhook.refetch()} /> : <Skeleton />}
      </>
    );
  return (
    <>
      {head}
      {progress.data && <Progress replay={progress.data} cancel={mayWrite ? cancel : undefined} />}
      {mayWrite ? (
        <section className="card part form">
          <div className="columns">
            <SelectField label="Range" value={range} onChange={(value) => set({ range: value })} options={RANGES} />
            <SelectField label="Which" value={only} onChange={(value) => set({ only: value })} options={ONLY} />
          </div>
          {range === 'own' && (
            <div className="columns">
              <TextField label="From" type="datetime-local" value={from} onChange={(value) => set({ from: value })} />
              <TextField
                label="Until"
                type="datetime-local"
                value={until}
                onChange={(value) => set({ until: value })}
                help={`Empty: now. Times are in ${Intl.DateTimeFormat().resolvedOptions().timeZone}.`}
              />
            </div>
          )}
          {dryRun.isError && <Notice kind="bad">{dryRun.error.message}</Notice>}
          <div>
            <Button
              variant="primary"
              disabled={!isComplete}
              isBusy={dryRun.isPending}
              onClick={() => dryRun.mutate(undefined, { onSuccess: setCounted })}
            >
              Count them
            </Button>
          </div>
        </section>
      ) : (
        <Notice kind="info">You may only read here.</Notice>
      )}
      {counted !== null && (
        <Confirm
          title={counted === 0 ? 'There is nothing to send' : `Send ${counted.toLocaleString('en')} again?`}
          action="Replay"
          isDisabled={counted === 0}
          isBusy={start.isPending}
          onClose={() => {
            setCounted(null);
            start.reset();
          }}
          onConfirm={() => start.mutate(undefined, { onSuccess: () => setCounted(null) })}
        >
          <p>
            {counted === 0
              ? 'No event of this range fits. Choose a longer range, or other events.'
              : `They are sent to ${webhook.data.webhook.name}, behind new events. You can cancel what still waits.`}
          </p>
          {start.isError && <Notice kind="bad">{start.error.message}</Notice>}
        </Confirm>
      )}
    </>
  );
}

interface ProgressProps {
  replay: Replay;
  cancel: { mutate: () => void; isPending: boolean; isError: boolean; error: Error | null } | undefined;
}

function Progress({ replay, cancel }: ProgressProps) {
  const { total, left, is_running, cancelled_at } = replay;
  const done = total - left;
  return (
    <section className="card part" aria-label="The last replay">
      <div className="line spread">
        <h2>
          {is_running ? 'A replay is running' : cancelled_at ? 'The last replay was cancelled' : 'The last replay'}
        </h2>
        {is_running && cancel && (
          <Button isSmall variant="danger" isBusy={cancel.isPending} onClick={() => cancel.mutate()}>
            Cancel it
          </Button>
        )}
      </div>
      <progress className="progress" max={Math.max(1, total)} value={done} aria-label="Sent" />
      <p className="muted small">
        {done.toLocaleString('en')} of {total.toLocaleString('en')} were tried, from <At at={replay.since} /> until{' '}
        <At at={replay.until} />. It began <At at={replay.started_at} />.
      </p>
      {cancel?.isError && <Notice kind="bad">{cancel.error?.message}</Notice>}
    </section>
  );
}
