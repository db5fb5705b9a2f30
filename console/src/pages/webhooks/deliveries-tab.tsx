import { useMemo } from 'react';
import { useNavigate } from 'react-router';
import type { Attempt, Webhook } from 'rowhook/client';
import { answerOf, client, queryOf } from '../../api/client.ts';
import { useAttempts } from '../../api/queries.ts';
import { type Live, useStream } from '../../api/stream.ts';
import { useOrganization } from '../../layout/organization.ts';
import { useAddress } from '../../ui/address.ts';
import { Button } from '../../ui/button.tsx';
import { ExportButton } from '../../ui/export.tsx';
import { FilterSelect } from '../../ui/field.tsx';
import { NoneSoFar, Pager } from '../../ui/pager.tsx';
import { Empty, Failure, Skeleton } from '../../ui/states.tsx';
import { Toggle } from '../../ui/switch.tsx';
import { AttemptTable } from '../deliveries/attempt-table.tsx';
import { EVENT_ID } from '../deliveries/find.tsx';

export function WebhookDeliveries({ webhook }: { webhook: Webhook }) {
  const { get, set } = useAddress();
  const [status, event_type, since, cursor] = [get('status'), get('event_type'), get('since'), get('cursor')];
  const isId = EVENT_ID.test(event_type);
  const filter = { status, since, ...(isId ? { event_id: event_type } : { event_type }) };
  const list = useAttempts(webhook.id, { ...filter, cursor });
  const { to, org } = useOrganization();
  const navigate = useNavigate();
  const isLive = cursor === '' && get('live') !== 'off';
  const live = useStream(webhook.id, isLive);
  const stored = list.data?.data;
  const fits = (one: Attempt) =>
    (status === '' || one.status === status) &&
    (event_type === '' || (isId ? one.event_id : one.event_type) === event_type);
  const news = isLive ? live.attempts.filter(fits) : [];
  const rows = merged(news, stored ?? []);
  const fresh = useMemo(() => new Set(live.attempts.map(({ id }) => id)), [live.attempts]);
  const isFiltered = status !== '' || event_type !== '' || since !== '';
  return (
    <>
      <div className="toolbar">
        <FilterSelect
          label="Status"
          value={status}
          onChange={(value) => set({ status: value })}
          options={[
            ['', 'Every status'],
            ['success', 'Delivered'],
            ['failed', 'Failed'],
            ['skipped', 'Skipped'],
          ]}
        />
        <FilterSelect
          label="Since"
          value={since}
          onChange={(value) => set({ since: value })}
          options={[
            ['', 'Any time'],
            ['1h', 'The last hour'],
            ['24h', 'The last 24 hours'],
            ['7d', 'The last 7 days'],
          ]}
        />
        <EventFilter value={event_type} onChange={(value) => set({ event_type: value })} />
        {cursor === '' && (
          <Toggle
            label="Live"
            checked={isLive}
            onChange={(isOn) => set({ live: isOn ? '' : 'off' }, { replace: true })}
          />
        )}
        <Button isSmall onClick={() => navigate(to(`/webhooks/${webhook.id}/replay`))}>
          Replay…
        </Button>
        <ExportButton
          name="attempts"
          columns={COLUMNS}
          read={(from, signal) =>
            answerOf(
              client.GET('/api/v1/{org}/outgoing-webhooks/{id}/deliveries', {
                params: { path: { org, id: webhook.id }, query: queryOf({ ...filter, cursor: from, limit: 500 }) },
                signal,
              }),
            )
          }
        />
      </div>
      <LiveState live={live} isOn={isLive} />
      {list.isError ? (
        <Failure error={list.error} onRetry={() => void list.refetch()} />
      ) : list.data === undefined ? (
        <Skeleton />
      ) : rows.length === 0 && list.data.next_cursor !== null ? (
        <NoneSoFar next={list.data.next_cursor} />
      ) : rows.length === 0 ? (
        isFiltered ? (
          <Empty
            title="None fits"
            action={<Button onClick={() => set({ status: '', event_type: '', since: '' })}>Show all attempts</Button>}
          >
            <p>No attempt of this webhook fits these filters.</p>
          </Empty>
        ) : (
          <Empty title="Nothing was sent yet">
            <p>Each request appears here as soon as it is made. The tab Test sends one now.</p>
          </Empty>
        )
      ) : (
        <AttemptTable attempts={rows} fresh={fresh} />
      )}
      <Pager next={list.data?.next_cursor ?? null} isLoading={list.isPlaceholderData} />
    </>
  );
}

/** Of an exported file. */
const COLUMNS: readonly (keyof Attempt)[] = [
  'attempted_at',
  'event_type',
  'status',
  'code',
  'response_status',
  'duration_ms',
  'attempt',
  'next_attempt_at',
  'error',
  'remote_ip',
  'event_id',
  'delivery_id',
  'id',
];

const ROWS_MAX = 150;

/** Newest first, each once. */
function merged(news: readonly Attempt[], stored: readonly Attempt[]): Attempt[] {
  const ids = new Set(news.map(({ id }) => id));
  return [...news, ...stored.filter(({ id }) => !ids.has(id))].slice(0, ROWS_MAX);
}

function LiveState({ live, isOn }: { live: Live; isOn: boolean }) {
  if (!isOn || (live.state !== 'lost' && live.skipped === 0)) return null;
  return (
    <p className="muted small" role="status">
      {live.state === 'lost'
        ? 'The live connection was lost. It comes back by itself.'
        : `There are more than fit on a page: ${live.skipped.toLocaleString('en')} attempts were left out here. They are in the log.`}
    </p>
  );
}

function EventFilter({ value, onChange }: { value: string; onChange: (value: string) => void }) {
  return (
    <input
      className="input input-small mono grow"
      aria-label="Event type or id"
      placeholder="Event type or id"
      defaultValue={value}
      key={value}
      spellCheck={false}
      onBlur={(event) => event.target.value !== value && onChange(event.target.value.trim())}
      onKeyDown={(event) => event.key === 'Enter' && onChange(event.currentTarget.value.trim())}
    />
  );
}
