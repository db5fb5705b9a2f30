import { useState } from 'react';
import type { AttemptDetail, Webhook } from 'rowhook/client';
import { answerOf, client } from '../../api/client.ts';
import { useKnownEvents } from '../../api/events.ts';
import { useWrite } from '../../api/queries.ts';
import { testUrlIn } from '../../api/test-urls.ts';
import { useOrganization } from '../../layout/organization.ts';
import { useSession } from '../../session/session.tsx';
import { Button } from '../../ui/button.tsx';
import { TextField } from '../../ui/field.tsx';
import { Empty, Failure, Notice } from '../../ui/states.tsx';
import { AttemptView } from '../deliveries/attempt-view.tsx';
import { Inspector } from './inspector.tsx';

type Result = { kind: 'attempt'; attempt: AttemptDetail } | { kind: 'late'; message: string };

/** The type that the server takes where none is named. */
function firstWanted(patterns: readonly string[], known: readonly string[]): string {
  for (const pattern of patterns) {
    if (!pattern.includes('*')) return pattern;
    const fitting = known.find((type) => pattern === '*' || type.startsWith(pattern.slice(0, -1)));
    if (fitting !== undefined) return fitting;
  }
  return 'webhook.test';
}

export function TestTab({ webhook }: { webhook: Webhook }) {
  const { mayWrite } = useSession();
  const { org } = useOrganization();
  const [type, setType] = useState('');
  const { known, isLoading } = useKnownEvents();
  const testUrl = testUrlIn(webhook.target_url);
  const test = useWrite(async (event_type: string): Promise<Result> => {
    const answer = await answerOf(
      client.POST('/api/v1/{org}/outgoing-webhooks/{id}/test', {
        params: { path: { org, id: webhook.id } },
        body: event_type === '' ? {} : { event_type },
      }),
    );
    return 'message' in answer ? { kind: 'late', message: answer.message } : { kind: 'attempt', attempt: answer };
  });
  if (!mayWrite)
    return (
      <Empty title="You may only read here">
        <p>A test writes an event. Ask for a key, or a link, that may write.</p>
      </Empty>
    );
  return (
    <>
      <section className="card test-form">
        <div className="grow">
          <TextField
            label="Event type"
            isMono
            value={type}
            onChange={setType}
            autoComplete="off"
            placeholder={isLoading ? '' : firstWanted(webhook.event_types, known)}
            help="Empty: the first that this webhook wants. The event is marked as a test, and goes to this webhook only."
          />
        </div>
        <Button variant="primary" isBusy={test.isPending} onClick={() => test.mutate(type.trim())}>
          Send test
        </Button>
      </section>
      {!webhook.is_active && (
        <Notice kind="warn">This webhook is off, so the test is logged as skipped. Switch it on first.</Notice>
      )}
      {test.isPending ? (
        <p className="muted test-wait" role="status">
          Sent. Waiting for the answer of the receiver, {Math.ceil((webhook.timeout_ms + 2_000) / 1_000)} s at most…
        </p>
      ) : test.isError ? (
        <Failure error={test.error} />
      ) : test.data?.kind === 'late' ? (
        <Notice kind="warn">{test.data.message}</Notice>
      ) : test.data ? (
        <AttemptView attempt={test.data.attempt} isLinked />
      ) : (
        <p className="muted test-wait">You will see the request, and what your receiver answered to it.</p>
      )}
      {testUrl !== null && <Inspector id={testUrl} />}
    </>
  );
}
