/** Event types that are known: the catalog, or where a server has none, what happened lately. */
import { useQuery } from '@tanstack/react-query';
import { useOrganization } from '../layout/organization.ts';
import { json } from './http.ts';
import type { Page } from './types.ts';

export function useKnownEvents(): readonly string[] {
  const { api } = useOrganization();
  const { data = [] } = useQuery({
    queryKey: [api('/events'), 'types'],
    queryFn: async ({ signal }) => {
      const page = await json<Page<{ event: string }>>(api('/events'), { query: { limit: 200 }, signal });
      return [...new Set(page.data.map(({ event }) => event))].sort();
    },
    staleTime: 60_000,
    retry: false,
  });
  return data;
}
