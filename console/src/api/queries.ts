/** The reads of the console, with their keys in the cache. */
import { keepPreviousData, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useOrganization } from '../layout/organization.ts';
import { json, request } from './http.ts';
import { memberText } from './json-text.ts';
import type { Attempt, AttemptDetail, Bucket, Page, UnfinishedDelivery, Webhook, WebhookInList } from './types.ts';

export type Query = Record<string, string | number | boolean | null | undefined>;

/** A list keeps its rows while the next page or filter loads, so that nothing jumps. */
export function useList<T>(path: string, query: Query, options: { refetchMs?: number; enabled?: boolean } = {}) {
  const { api } = useOrganization();
  return useQuery({
    queryKey: [api(path), query],
    queryFn: ({ signal }) => json<Page<T>>(api(path), { query, signal }),
    placeholderData: keepPreviousData,
    refetchInterval: options.refetchMs ?? false,
    enabled: options.enabled ?? true,
  });
}

export const useWebhooks = (query: Query) => useList<WebhookInList>('/outgoing-webhooks', query, { refetchMs: 15_000 });

export const useUnfinished = (query: Query) => useList<UnfinishedDelivery>('/deliveries', query, { refetchMs: 10_000 });

export const useAttempts = (id: string, query: Query) => useList<Attempt>(`/outgoing-webhooks/${id}/deliveries`, query);

export interface StoredWebhook {
  webhook: Webhook;
  /** Of the settings, for If-Match. */
  etag: string | null;
  /** The filter as its text: numbers keep their digits. */
  filter: string;
}

export function storedOf(text: string, headers: Headers): StoredWebhook {
  return { webhook: JSON.parse(text), etag: headers.get('etag'), filter: memberText(text, 'filter') ?? 'null' };
}

export function useWebhook(id: string) {
  const { api } = useOrganization();
  return useQuery({
    queryKey: [api('/outgoing-webhooks'), 'one', id],
    queryFn: async ({ signal }): Promise<StoredWebhook> => {
      const { text, headers } = await request(api(`/outgoing-webhooks/${encodeURIComponent(id)}`), { signal });
      return storedOf(text, headers);
    },
    refetchInterval: 15_000,
  });
}

export function useStats(id: string, bucket: 'minute' | 'hour' | 'day', since: string) {
  const { api } = useOrganization();
  return useQuery({
    queryKey: [api('/outgoing-webhooks'), 'stats', id, bucket, since],
    queryFn: ({ signal }) =>
      json<{ data: Bucket[] }>(api(`/outgoing-webhooks/${id}/stats`), { query: { bucket, since }, signal }),
    placeholderData: keepPreviousData,
    refetchInterval: 15_000,
  });
}

export function useAttempt(id: string | undefined) {
  const { api } = useOrganization();
  return useQuery({
    queryKey: [api('/attempts'), id],
    queryFn: ({ signal }) => json<AttemptDetail>(api(`/attempts/${encodeURIComponent(id ?? '')}`), { signal }),
    enabled: id !== undefined,
    staleTime: Number.POSITIVE_INFINITY,
  });
}

/** A write. After it, everything of webhooks is read again. */
export function useWrite<T, V = void>(run: (value: V) => Promise<T>) {
  const client = useQueryClient();
  const { api } = useOrganization();
  return useMutation({
    mutationFn: run,
    onSettled: () =>
      client.invalidateQueries({
        predicate: ({ queryKey }) => String(queryKey[0]).startsWith(api('/')),
      }),
  });
}

export function useSwitch(id: string) {
  const { api } = useOrganization();
  return useWrite((isActive: boolean) =>
    json<Webhook>(api(`/outgoing-webhooks/${id}/${isActive ? 'enable' : 'disable'}`), { method: 'POST' }),
  );
}
