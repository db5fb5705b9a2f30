/** What waits, and what failed for good: select some and send them again. */
import { useState } from 'react';
import { Link } from 'react-router';
import type { UnfinishedDelivery } from 'rowhook/client';
import { answerOf, client, queryOf } from '../../api/client.ts';
import { useList, useWrite } from '../../api/queries.ts';
import { useOrganization } from '../../layout/organization.ts';
import { useSession } from '../../session/session.tsx';
import { useAddress } from '../../ui/address.ts';
import { StatusBadge } from '../../ui/badge.tsx';
import { Button } from '../../ui/button.tsx';
import { codeText, meaningOf } from '../../ui/codes.ts';
import { Confirm } from '../../ui/dialog.tsx';
import { ExportButton } from '../../ui/export.tsx';
import { FilterSelect } from '../../ui/field.tsx';
import { PageHead } from '../../ui/head.tsx';
import { NoneSoFar, Pager } from '../../ui/pager.tsx';
import { Empty, Failure, Notice, Skeleton } from '../../ui/states.tsx';
import { Cell, Row, Table } from '../../ui/table.tsx';
import { At, Next } from '../../ui/time.tsx';
import { FindById } from './find.tsx';

type State = UnfinishedDelivery['state'];
type Chosen = { ids: string[] } | { filter: { state: State; webhook?: string } };

export default function DeliveriesPage() {
  const { mayWrite } = useSession();
  const { to, path } = useOrganization();
  const { get, set } = useAddress();
  const [state, webhook, cursor] = [get('state'), get('webhook'), get('cursor')];
  const query = { state, webhook, cursor };
  const list = useList(
    'deliveries',
    query,
    (signal) => client.GET('/api/v1/{org}/deliveries', { params: { path, query: queryOf(query) }, signal }),
    { refetchMs: 10_000 },
  );
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const [asked, setAsked] = useState<{ chosen: Chosen; count: number; more: boolean } | null>(null);
  const [sent, setSent] = useState('');

  const send = (body: Chosen & { dry_run?: boolean }) =>
    answerOf(client.POST('/api/v1/{org}/deliveries/retry', { params: { path }, body }));
  const dryRun = useWrite(async (chosen: Chosen) => {
    const answer = await send({ ...chosen, dry_run: true });
    return 'count' in answer ? answer : { count: answer.retried, more: answer.more };
  });
  const retry = useWrite(async (chosen: Chosen) => {
    const answer = await send(chosen);
    return 'retried' in answer ? answer : { retried: 0, skipped: 0 };
  });
  const ask = (chosen: Chosen) => dryRun.mutate(chosen, { onSuccess: (answer) => setAsked({ chosen, ...answer }) });

  const rows = list.data?.data ?? [];
  const shownSelected = rows.filter(({ id }) => selected.has(id));
  const filter = {
    state: state === 'waiting' ? ('waiting' as const) : ('failed' as const),
    ...(webhook !== '' && { webhook }),
  };
  return (
    <>
      <PageHead title="Deliveries">
        What waits for its next attempt, and what failed for good. Delivered ones are in each webhook's log.
      </PageHead>
      <div className="toolbar">
        <FilterSelect
          label="State"
          value={state}
          onChange={(value) => set({ state: value })}
          options={[
            ['', 'Waiting and failed'],
            ['waiting', 'Waiting'],
            ['failed', 'Failed'],
          ]}
        />
        {webhook !== '' && (
          <Button isSmall onClick={() => set({ webhook: '' })}>
            Of all webhooks
          </Button>
        )}
        <FindById />
        <ExportButton
          name="deliveries"
          columns={COLUMNS}
          read={(from, signal) =>
            answerOf(
              client.GET('/api/v1/{org}/deliveries', {
                params: { path, query: queryOf({ state, webhook, cursor: from, limit: 500 }) },
                signal,
              }),
            )
          }
        />
        {mayWrite && rows.length > 0 && (
          <>
            <Button
              isSmall
              disabled={shownSelected.length === 0}
              isBusy={dryRun.isPending}
              onClick={() => ask({ ids: shownSelected.map(({ id }) => id) })}
            >
              Retry selected ({shownSelected.length})
            </Button>
            <Button isSmall isBusy={dryRun.isPending} onClick={() => ask({ filter })}>
              {filter.state === 'waiting' ? 'Retry all that wait' : 'Retry all that failed'}
            </Button>
          </>
        )}
      </div>
      {dryRun.isError && <Notice kind="bad">{dryRun.error.message}</Notice>}
      {sent !== '' && <Notice kind="ok">{sent}</Notice>}
      {list.isError ? (
        <Failure error={list.error} onRetry={() => void list.refetch()} />
      ) : list.data === undefined ? (
        <Skeleton />
      ) : rows.length === 0 && list.data.next_cursor !== null ? (
        <NoneSoFar next={list.data.next_cursor} />
      ) : rows.length === 0 ? (
        <Empty title={state === 'failed' ? 'Nothing failed for good' : 'Nothing waits'}>
          <p>Everything was delivered, or skipped because a webhook did not want it.</p>
        </Empty>
      ) : (
        <Table
          label="Deliveries"
          head={['Event', 'State', 'Webhook', 'Attempts', 'Last outcome', 'Change', 'Next attempt']}
        >
          {rows.map((row) => (
            <DeliveryRow
              key={row.id}
              row={row}
              to={to}
              isSelected={selected.has(row.id)}
              onSelect={
                mayWrite
                  ? (isOn) =>
                      setSelected((before) => {
                        const after = new Set(before);
                        if (isOn) after.add(row.id);
                        else after.delete(row.id);
                        return after;
                      })
                  : undefined
              }
            />
          ))}
        </Table>
      )}
      <Pager next={list.data?.next_cursor ?? null} isLoading={list.isPlaceholderData} />
      {asked && (
        <Confirm
          title={asked.count === 1 ? 'Retry one delivery?' : `Retry ${asked.count.toLocaleString('en')} deliveries?`}
          action="Retry"
          isBusy={retry.isPending}
          isDisabled={asked.count === 0}
          onClose={() => setAsked(null)}
          onConfirm={() =>
            retry.mutate(asked.chosen, {
              onSuccess: ({ retried, skipped }) => {
                const tooOld = skipped > 0 ? ` ${countOf(skipped)} too old to be sent again.` : '';
                setSent(`${countOf(retried)} queued.${tooOld}`);
                setSelected(new Set());
                setAsked(null);
              },
            })
          }
        >
          <p>They are sent now, with the same ids, so a receiver that has one already can tell.</p>
          {asked.more && <p>There are more: the newest go first. Repeat it for the rest.</p>}
          {retry.isError && <Notice kind="bad">{retry.error.message}</Notice>}
        </Confirm>
      )}
    </>
  );
}

/** Of an exported file. */
const COLUMNS: readonly (keyof UnfinishedDelivery)[] = [
  'occurred_at',
  'event_type',
  'state',
  'webhook_name',
  'attempt',
  'last_code',
  'next_attempt_at',
  'event_id',
  'webhook_id',
  'id',
];

interface DeliveryRowProps {
  row: UnfinishedDelivery;
  to: (path: string) => string;
  isSelected: boolean;
  onSelect: ((isOn: boolean) => void) | undefined;
}

function DeliveryRow({ row, to, isSelected, onSelect }: DeliveryRowProps) {
  return (
    <Row>
      <Cell name="Event" isMain>
        <span className="line">
          {onSelect && (
            <input
              type="checkbox"
              className="row-check"
              aria-label={`Select ${row.event_type} ${row.event_id}`}
              checked={isSelected}
              onChange={(event) => onSelect(event.target.checked)}
            />
          )}
          <Link className="mono clip" to={to(`/deliveries/${row.id}`)}>
            {row.event_type}
          </Link>
          {row.test && <span className="tag">Test</span>}
          {row.replayed && <span className="tag">Replay</span>}
        </span>
      </Cell>
      <Cell name="State">
        <StatusBadge status={row.state} />
      </Cell>
      <Cell name="Webhook">
        <Link className="clip" to={to(`/webhooks/${row.webhook_id}`)}>
          {row.webhook_name}
        </Link>
      </Cell>
      <Cell name="Attempts" isNumber>
        {row.attempt}
      </Cell>
      <Cell name="Last outcome">
        {row.last_code ? (
          <span title={meaningOf(row.last_code)}>{codeText(row.last_code)}</span>
        ) : (
          <span className="muted">–</span>
        )}
      </Cell>
      <Cell name="Change">
        <At at={row.occurred_at} />
      </Cell>
      <Cell name="Next attempt">
        <Next at={row.next_attempt_at} />
      </Cell>
    </Row>
  );
}

const countOf = (deliveries: number) => (deliveries === 1 ? '1 is' : `${deliveries} are`);
