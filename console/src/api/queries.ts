/** The reads of the console, with their keys in the cache. */
import { keepPreviousData, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { textOf, type Webhook } from 'rowhook/client';
import { useOrganization } from '../layout/organization.ts';
import { answerOf, client, queryOf } from './client.ts';

export type Query = Record<string, string | number | boolean | null | undefined>;

type Call<T> = Parameters<typeof answerOf<T>>[0];

/** A list keeps its rows while the next page or filter loads, so that nothing jumps. */
export function useList<T>(
  name: string,
  query: Query,
  call: (signal: AbortSignal) => Call<T>,
  options: { refetchMs?: number; enabled?: boolean; hasTexts?: boolean } = {},
) {
  const { key } = useOrganization();
  return useQuery({
    queryKey: key(name, query),
    queryFn: ({ signal }) => answerOf(call(signal)),
    placeholderData: keepPreviousData,
    refetchInterval: options.refetchMs ?? false,
    enabled: options.enabled ?? true,
    // textOf() knows the objects of an answer. The cache would put copies of them in their place.
    structuralSharing: !options.hasTexts,
  });
}

export function useAttempts(id: string, query: Query) {
  const { org } = useOrganization();
  return useList(`attempts of ${id}`, query, (signal) =>
    client.GET('/api/v1/{org}/outgoing-webhooks/{id}/deliveries', {
      params: { path: { org, id }, query: queryOf(query) },
      signal,
    }),
  );
}

export interface StoredWebhook {
  webhook: Webhook;
  /** Of the settings, for If-Match. */
  etag: string | null;
  /** The filter as its text: numbers keep their digits. */
  filter: string;
}

export async function storedOf(call: Call<Webhook>): Promise<StoredWebhook> {
  const webhook = await answerOf(call);
  const { response } = await call;
  return { webhook, etag: response.headers.get('etag'), filter: textOf(webhook, 'filter') ?? 'null' };
}

export function useWebhook(id: string) {
  const { org, key } = useOrganization();
  return useQuery({
    queryKey: key('webhook', id),
    queryFn: ({ signal }) =>
      storedOf(client.GET('/api/v1/{org}/outgoing-webhooks/{id}', { params: { path: { org, id } }, signal })),
    refetchInterval: 15_000,
  });
}

export function useStats(id: string, bucket: 'minute' | 'hour' | 'day', since: string) {
  const { org, key } = useOrganization();
  return useQuery({
    queryKey: key('stats', id, bucket, since),
    queryFn: ({ signal }) =>
      answerOf(
        client.GET('/api/v1/{org}/outgoing-webhooks/{id}/stats', {
          params: { path: { org, id }, query: { bucket, since } },
          signal,
        }),
      ),
    placeholderData: keepPreviousData,
    refetchInterval: 15_000,
  });
}

export function useAttempt(id: string | undefined) {
  const { org, key } = useOrganization();
  return useQuery({
    queryKey: key('attempt', id),
    queryFn: ({ signal }) =>
      answerOf(client.GET('/api/v1/{org}/attempts/{log_id}', { params: { path: { org, log_id: id ?? '' } }, signal })),
    enabled: id !== undefined,
    staleTime: Number.POSITIVE_INFINITY,
  });
}

/** A write. After it, everything of the organization is read again. */
export function useWrite<T, V = void>(run: (value: V) => Promise<T>) {
  const cache = useQueryClient();
  const { key } = useOrganization();
  return useMutation({
    mutationFn: run,
    onSettled: () => cache.invalidateQueries({ queryKey: key() }),
  });
}

export function useSwitch(id: string) {
  const { org } = useOrganization();
  const params = { path: { org, id } };
  return useWrite((isActive: boolean) =>
    answerOf(
      isActive
        ? client.POST('/api/v1/{org}/outgoing-webhooks/{id}/enable', { params })
        : client.POST('/api/v1/{org}/outgoing-webhooks/{id}/disable', { params }),
    ),
  );
}
