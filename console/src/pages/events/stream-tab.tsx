/** What happened: the events of the outbox, as webhooks get them, with why each was sent or not. */
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { type Event as Listed, textOf, textsOf } from 'rowhook/client';
import { answerOf, client, queryOf } from '../../api/client.ts';
import { useOrganization } from '../../layout/organization.ts';
import { useAddress } from '../../ui/address.ts';
import { Button } from '../../ui/button.tsx';
import { CodeBlock, visible } from '../../ui/code.tsx';
import { FilterSelect } from '../../ui/field.tsx';
import { NoneSoFar, Pager } from '../../ui/pager.tsx';
import { Empty, Failure, Skeleton } from '../../ui/states.tsx';
import { At } from '../../ui/time.tsx';
import { Explain } from '../deliveries/explain.tsx';
import { SearchField } from '../more/search-field.tsx';

interface Event {
  id: string;
  type: string;
  at: string;
  text: string;
  /** The row, on one line. */
  data: string;
}

/** Nobody reads more of it in a list. */
const GLIMPSE = 160;

function eventOf(listed: Listed, text: string): Event {
  const { id, event, timestamp } = listed;
  return { id, type: event, at: timestamp, data: dataOf(listed).slice(0, GLIMPSE), text };
}

/** A large row is not looked up once more: it is the end of a line in any case. */
function dataOf({ data }: Listed): string {
  return typeof data === 'object' && data !== null ? (textOf(data) ?? '') : JSON.stringify(data);
}

export function EventStream() {
  const { path, key } = useOrganization();
  const { get, set } = useAddress();
  const [id, event_type, row_key, since, cursor, opened] = [
    get('id'),
    get('event_type'),
    get('row_key'),
    get('since'),
    get('cursor'),
    get('event'),
  ];
  const query = { id, event_type, row_key, since, cursor };
  const list = useQuery({
    queryKey: key('events', query),
    queryFn: async ({ signal }) => {
      const params = { path, query: queryOf(query) };
      const { data, next_cursor } = await answerOf(client.GET('/api/v1/{org}/events', { params, signal }));
      const texts = textsOf(data);
      return { events: data.map((event, index) => eventOf(event, texts[index] ?? '')), next: next_cursor };
    },
    placeholderData: keepPreviousData,
    refetchInterval: cursor === '' && opened === '' ? 5_000 : false,
  });
  const events = list.data?.events ?? [];
  const isFiltered = id !== '' || event_type !== '' || row_key !== '' || since !== '';
  return (
    <>
      <div className="toolbar">
        <SearchField label="Event type" placeholder="Type, such as deal.updated" name="event_type" />
        <SearchField label="Event id" placeholder="Id, such as evt_60f127aa_9_1" name="id" />
        <SearchField label="Key of the row" placeholder="Primary key of a row" name="row_key" />
        <FilterSelect
          label="Since"
          value={since}
          onChange={(value) => set({ since: value })}
          options={[
            ['', 'Any time'],
            ['1h', 'The last hour'],
            ['24h', 'The last 24 hours'],
          ]}
        />
      </div>
      {list.isError ? (
        <Failure error={list.error} onRetry={() => void list.refetch()} />
      ) : list.data === undefined ? (
        <Skeleton />
      ) : events.length === 0 && list.data.next !== null ? (
        <NoneSoFar next={list.data.next} />
      ) : events.length === 0 ? (
        <Empty
          title={isFiltered ? 'None fits' : 'Nothing has happened yet'}
          action={
            isFiltered && (
              <Button onClick={() => set({ id: '', event_type: '', row_key: '', since: '' })}>Show all events</Button>
            )
          }
        >
          <p>
            {isFiltered
              ? 'No event fits these filters.'
              : 'An event appears here when a row changes that a webhook is interested in.'}
          </p>
        </Empty>
      ) : (
        <ul className="event-list card">
          {events.map((event) => (
            <EventItem
              key={event.id}
              event={event}
              isOpen={opened === event.id}
              onToggle={(isOpen) => set({ event: isOpen ? event.id : '', cursor }, { replace: true })}
            />
          ))}
        </ul>
      )}
      <Pager next={list.data?.next ?? null} isLoading={list.isPlaceholderData} />
    </>
  );
}

interface EventItemProps {
  event: Event;
  isOpen: boolean;
  onToggle: (isOpen: boolean) => void;
}

function EventItem({ event, isOpen, onToggle }: EventItemProps) {
  const [wasOpen, setWasOpen] = useState(isOpen);
  return (
    <li>
      <button
        type="button"
        className="event-line"
        aria-expanded={isOpen}
        onClick={() => {
          setWasOpen(true);
          onToggle(!isOpen);
        }}
      >
        <span className="mono strong clip">{event.type}</span>
        <span className="mono small muted clip">{visible(event.data)}</span>
        <At at={event.at} />
      </button>
      {isOpen && wasOpen && (
        <div className="event-more">
          <p className="mono small wrap">{event.id}</p>
          <CodeBlock label="Event" text={event.text} />
          <Explain event={event.id} />
        </div>
      )}
    </li>
  );
}
