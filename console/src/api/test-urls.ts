/** URLs of rowhook itself, for whoever has no receiver yet: they show what is sent to them. */
import { useQuery } from '@tanstack/react-query';
import type { AnswerTo } from 'rowhook/client';
import { useOrganization } from '../layout/organization.ts';
import { answerOf, client, RowhookError } from './client.ts';
import { useWrite } from './queries.ts';

export type TestUrl = AnswerTo<'/api/v1/{org}/test-urls/{id}'>;
export type TestRequest = TestUrl['requests'][number];

/** Null: it is no test URL. */
export function testUrlIn(url: string): string | null {
  return /\/api\/test-urls\/(tst_[A-Za-z0-9]{24})$/.exec(url)?.[1] ?? null;
}

export function useNewTestUrl() {
  const { path } = useOrganization();
  return useWrite(() => answerOf(client.POST('/api/v1/{org}/test-urls', { params: { path } })));
}

/** Null: it has ended. */
export function useTestUrl(id: string) {
  const { org, key } = useOrganization();
  return useQuery({
    queryKey: key('test-url', id),
    queryFn: ({ signal }) =>
      answerOf(client.GET('/api/v1/{org}/test-urls/{id}', { params: { path: { org, id } }, signal })).catch(
        (error: unknown) => {
          if (error instanceof RowhookError && error.status === 404) return null;
          throw error;
        },
      ),
    refetchInterval: ({ state }) => (state.data === null ? false : 2_000),
  });
}
