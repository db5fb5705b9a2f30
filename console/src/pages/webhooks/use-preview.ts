/** What the API says about settings that are not saved yet. Nothing is stored, sent or dialled. */
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import type { Event } from 'rowhook/client';
import { answerOf, client } from '../../api/client.ts';
import { useKnownEvents } from '../../api/events.ts';
import { useOrganization } from '../../layout/organization.ts';
import { bodyOf, type Draft, eventTypesOf, problemsOf } from './draft.ts';

/** The value once it has rested. */
function useRested<T>(value: T, ms: number): T {
  const [rested, setRested] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setRested(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return rested;
}

const RESTED_MS = 400;

/** What is tried: what else is wrong in the draft is left to the form. */
export type Tried = 'filter' | 'body';

function settingsOf(draft: Draft, tried: Tried) {
  const wrong = problemsOf(draft);
  const { filter, payload_format, payload_template, content_type, batch_max_events, event_types } = bodyOf(
    wrong.filter ? { ...draft, filter: '' } : draft,
  );
  if (tried === 'filter') return { filter, ...(!wrong.event_types && { event_types }) };
  return {
    ...(draft.name.trim() !== '' && { name: draft.name.trim() }),
    ...{ payload_format, payload_template, content_type },
    ...(!wrong.batch_max_events && { batch_max_events }),
  };
}

/** `chosen` is the id of an event, or a type. */
export function usePreview(draft: Draft, tried: Tried, chosen: string, isOn: boolean) {
  const { path, key } = useOrganization();
  const event = chosen.startsWith('evt_') ? { event_id: chosen } : { event_type: chosen };
  const { filter, payload_format, payload_template, content_type, batch_max_events, name } = draft;
  const parts =
    tried === 'filter'
      ? [filter, eventTypesOf(draft)]
      : [payload_format, payload_template, content_type, batch_max_events, name];
  const asked = JSON.stringify([tried, chosen, ...parts]);
  const rested = useRested(asked, RESTED_MS);
  return useQuery({
    queryKey: key('preview', rested),
    queryFn: ({ signal }) =>
      answerOf(
        client.POST('/api/v1/{org}/outgoing-webhooks/preview', {
          params: { path },
          body: { ...settingsOf(draft, tried), ...event },
          signal,
        }),
      ),
    enabled: isOn && chosen !== '' && rested === asked,
    placeholderData: keepPreviousData,
    staleTime: 30_000,
    retry: false,
  });
}

/** Why the daemon would refuse the URL: the server knows what its operator allows. */
export function useUrlProblem(url: string, isOn: boolean): string | undefined {
  const { path, key } = useOrganization();
  const rested = useRested(url.trim(), RESTED_MS);
  const { data } = useQuery({
    queryKey: key('preview', 'url', rested),
    queryFn: ({ signal }) =>
      answerOf(
        client.POST('/api/v1/{org}/outgoing-webhooks/preview', {
          params: { path },
          body: { target_url: rested, event_type: 'webhook.test' },
          signal,
        }),
      ),
    enabled: isOn && /^https?:\/\/[^/\s]*[\w\]]/i.test(rested),
    staleTime: 60_000,
    retry: false,
  });
  return rested === url.trim() ? (data?.url_problem ?? undefined) : undefined;
}

const RECENT_MAX = 20;

export interface Trial {
  value: string;
  type: string;
  /** Null: of a type, not a certain event. */
  at: string | null;
}

/** What a filter can be tried on: recent events that the webhook wants, then every type that it wants. */
export function useTrials(draft: Draft, isOn: boolean): readonly Trial[] {
  const { path, key } = useOrganization();
  const { known } = useKnownEvents();
  const { data: recent = [] } = useQuery({
    queryKey: key('events', 'recent'),
    queryFn: async ({ signal }): Promise<Event[]> => {
      const params = { path, query: { limit: 100 } };
      return (await answerOf(client.GET('/api/v1/{org}/events', { params, signal }))).data;
    },
    enabled: isOn,
    staleTime: 15_000,
    retry: false,
  });
  const patterns = eventTypesOf(draft);
  const isWanted = (type: string) => patterns.some((pattern) => fits(pattern, type));
  const events = recent.filter(({ event, test }) => isWanted(event) && !test).slice(0, RECENT_MAX);
  const named = patterns.filter((pattern) => !pattern.includes('*'));
  const types = [...new Set([...known.filter(isWanted), ...named])].sort();
  return [
    ...events.map(({ id, event, timestamp }) => ({ value: id, type: event, at: timestamp })),
    ...types.map((type) => ({ value: type, type, at: null })),
  ];
}

function fits(pattern: string, type: string): boolean {
  return pattern === '*' || pattern === type || (pattern.endsWith('.*') && type.startsWith(pattern.slice(0, -1)));
}
