/** The event types that there are, with what their data looks like. */
import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { type AnswerTo, textOf } from 'rowhook/client';
import { useOrganization } from '../layout/organization.ts';
import { answerOf, client } from './client.ts';

export interface EventType {
  type: string;
  description: string | null;
  /** JSON texts. Null: nobody has described it. */
  schema: string | null;
  sample: string | null;
}

type Listed = AnswerTo<'/api/v1/{org}/event-types'>['data'][number];

function eventTypeOf(listed: Listed): EventType {
  const known = (text: string | undefined) => (text === undefined || text === 'null' || text === '{}' ? null : text);
  return {
    type: listed.event_type,
    description: listed.description,
    schema: known(textOf(listed, 'schema')),
    sample: known(textOf(listed, 'sample')),
  };
}

export function useCatalog() {
  const { path, key } = useOrganization();
  return useQuery({
    queryKey: key('event-types'),
    queryFn: async ({ signal }) => {
      const { data } = await answerOf(client.GET('/api/v1/{org}/event-types', { params: { path }, signal }));
      return data.map(eventTypeOf);
    },
    staleTime: 60_000,
    retry: false,
  });
}

/** The catalog, and what happened lately: an application may emit types that nobody has described. */
export function useKnownEvents(): { known: readonly string[]; isLoading: boolean } {
  const { path, key } = useOrganization();
  const { data: catalog = [], isLoading } = useCatalog();
  const { data: seen = [], isLoading: isSeenLoading } = useQuery({
    queryKey: key('events', 'types'),
    queryFn: async ({ signal }) => {
      const params = { path, query: { limit: 200 } };
      const { data } = await answerOf(client.GET('/api/v1/{org}/events', { params, signal }));
      return data.map(({ event }) => event);
    },
    staleTime: 60_000,
    retry: false,
  });
  const known = useMemo(() => [...new Set([...catalog.map(({ type }) => type), ...seen])].sort(), [catalog, seen]);
  // Together, so that nothing moves under a click.
  return { known, isLoading: isLoading || isSeenLoading };
}
