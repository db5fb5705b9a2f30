/** What others sent, with its payload as it came, and what the application made of it. */
import { Link } from 'react-router';
import { type AnswerTo, textOf } from 'rowhook/client';
import { answerOf, client, queryOf } from '../../api/client.ts';
import { useList, useWrite } from '../../api/queries.ts';
import { useOrganization } from '../../layout/organization.ts';
import { useSession } from '../../session/session.tsx';
import { useAddress } from '../../ui/address.ts';
import { StatusBadge } from '../../ui/badge.tsx';
import { Button } from '../../ui/button.tsx';
import { CodeBlock, visible } from '../../ui/code.tsx';
import { FilterSelect } from '../../ui/field.tsx';
import { NoneSoFar, Pager } from '../../ui/pager.tsx';
import { Empty, Failure, Notice, Skeleton } from '../../ui/states.tsx';
import { At } from '../../ui/time.tsx';
import { SearchField } from '../more/search-field.tsx';

type InboundEvent = AnswerTo<'/api/v1/{org}/integration-events'>['data'][number];

/** Nobody reads more of it in a list. */
const GLIMPSE = 160;

export function InboundEvents() {
  const { path, to } = useOrganization();
  const { get, set } = useAddress();
  const [status, event_name, source, cursor] = [get('status'), get('event_name'), get('source'), get('cursor')];
  const query = { status, event_name, source, cursor };
  const list = useList(
    'inbound events',
    query,
    (signal) => client.GET('/api/v1/{org}/integration-events', { params: { path, query: queryOf(query) }, signal }),
    { refetchMs: 5_000, hasTexts: true },
  );
  const rows = list.data?.data ?? [];
  const isFiltered = status !== '' || event_name !== '' || source !== '';
  return (
    <>
      <div className="toolbar">
        <FilterSelect
          label="Status"
          value={status}
          onChange={(value) => set({ status: value })}
          options={[
            ['', 'Every status'],
            ['received', 'Received'],
            ['processing', 'Processing'],
            ['processed', 'Processed'],
            ['failed', 'Failed'],
          ]}
        />
        <SearchField label="Event name" placeholder="Name, such as lead.captured" name="event_name" />
        <SearchField label="Source" placeholder="Name of a source" name="source" />
      </div>
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
            action={<Button onClick={() => set({ status: '', event_name: '', source: '' })}>Show all events</Button>}
          >
            <p>No inbound event fits these filters.</p>
          </Empty>
        ) : (
          <Empty title="Nothing has come yet" action={<Link to={to('/inbound/sources')}>Set up a source</Link>}>
            <p>
              A sender that signs its requests, such as Stripe or GitHub, gets a source. Others post to{' '}
              <code>/api/webhooks/&lt;event name&gt;</code> with an API key that has the scope inbound.
            </p>
          </Empty>
        )
      ) : (
        <ul className="event-list card">
          {rows.map((event) => (
            <EventItem
              key={event.id}
              event={event}
              isOpen={get('event') === event.id}
              onToggle={(isOpen) => set({ event: isOpen ? event.id : '', cursor }, { replace: true })}
            />
          ))}
        </ul>
      )}
      <Pager next={list.data?.next_cursor ?? null} isLoading={list.isPlaceholderData} />
    </>
  );
}

interface EventItemProps {
  event: InboundEvent;
  isOpen: boolean;
  onToggle: (isOpen: boolean) => void;
}

function EventItem({ event, isOpen, onToggle }: EventItemProps) {
  const { payload } = event;
  const glimpse = typeof payload === 'object' && payload !== null ? textOf(payload) : JSON.stringify(payload);
  return (
    <li>
      <button
        type="button"
        className="event-line event-line-status"
        aria-expanded={isOpen}
        onClick={() => onToggle(!isOpen)}
      >
        <StatusBadge status={event.status} />
        <span className="mono strong clip">{event.event_name}</span>
        <span className="mono small muted clip">{visible((glimpse ?? '').slice(0, GLIMPSE))}</span>
        <At at={event.received_at} />
      </button>
      {isOpen && <EventMore event={event} />}
    </li>
  );
}

function EventMore({ event }: { event: InboundEvent }) {
  const { org } = useOrganization();
  const { mayWrite } = useSession();
  const retry = useWrite(() =>
    answerOf(client.POST('/api/v1/{org}/integration-events/{id}/retry', { params: { path: { org, id: event.id } } })),
  );
  const facts: readonly (readonly [name: string, value: React.ReactNode])[] = [
    [
      'Id',
      <span key="id" className="mono">
        {event.id}
      </span>,
    ],
    ['Source', event.source ?? 'An API key'],
    ['Claims', `${event.attempts} of 10`],
    ['From', event.remote_ip],
    ['Sent once as', event.idempotency_key && visible(event.idempotency_key)],
    ['Processed', event.processed_at && <At key="at" at={event.processed_at} />],
  ];
  const headers = Object.entries(event.headers);
  return (
    <div className="event-more">
      {event.error_message && (
        <Notice kind="bad">
          <p className="strong">Your application said why it failed:</p>
          <p className="mono small wrap">{visible(event.error_message)}</p>
        </Notice>
      )}
      <dl className="pairs small">
        {facts
          .filter(([, value]) => value !== null && value !== '')
          .map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd className="wrap">{value}</dd>
            </div>
          ))}
        {headers.map(([name, value]) => (
          <div key={`header ${name}`}>
            <dt className="mono">{visible(name)}</dt>
            <dd className="mono wrap">{visible(value)}</dd>
          </div>
        ))}
      </dl>
      <CodeBlock label="Payload" text={textOf(event, 'payload') ?? 'null'} />
      {mayWrite && (event.status === 'failed' || event.status === 'processed') && (
        <div>
          <Button isSmall isBusy={retry.isPending} onClick={() => retry.mutate()}>
            Let it be processed again
          </Button>
        </div>
      )}
      {retry.isError && <Notice kind="bad">{retry.error.message}</Notice>}
    </div>
  );
}
