/** Why an event is sent to a webhook, or not. */
import { useQuery } from '@tanstack/react-query';
import { Link } from 'react-router';
import { answerOf, client, queryOf } from '../../api/client.ts';
import { useOrganization } from '../../layout/organization.ts';
import { Button } from '../../ui/button.tsx';
import { codeText } from '../../ui/codes.ts';
import { Notice } from '../../ui/states.tsx';

const HAPPENED: Readonly<Record<string, string>> = {
  success: 'It was delivered',
  waiting: 'It waits for its next attempt',
  given_up: 'It failed for good',
  failed: 'Its last attempt failed',
  skipped: 'It was skipped',
};

function happenedText({ status, code }: { status: string; code: string | null }): string {
  const text = HAPPENED[status] ?? status;
  return code === null || code === 'delivered' ? `${text}.` : `${text} (${codeText(code)}).`;
}

export function Explain({ event, webhook }: { event: string; webhook?: string }) {
  const { org, key, to } = useOrganization();
  const explain = useQuery({
    queryKey: key('explain', event, webhook),
    queryFn: ({ signal }) =>
      answerOf(
        client.GET('/api/v1/{org}/events/{id}/explain', {
          params: { path: { org, id: event }, query: queryOf({ webhook }) },
          signal,
        }),
      ),
    enabled: false,
    retry: false,
  });
  return (
    <>
      <div>
        <Button isSmall isBusy={explain.isFetching} onClick={() => void explain.refetch()}>
          Explain why it is sent, or not
        </Button>
      </div>
      {explain.isError && <Notice kind="bad">{explain.error.message}</Notice>}
      {explain.data?.data.length === 0 && <p className="muted">There is no webhook.</p>}
      {explain.data?.data.map((one) => (
        <Notice key={`${one.webhook_id}${one.event_id}`} kind={one.sent ? 'ok' : 'info'}>
          {webhook === undefined && (
            <Link className="strong clip" to={to(`/webhooks/${one.webhook_id}`)}>
              {one.webhook_name}
            </Link>
          )}
          <p className="wrap">
            <span className="mono">{one.event_type}</span>:{' '}
            {one.sent
              ? 'the webhook wants it, as it is configured now.'
              : `not sent: ${one.because ?? 'nobody knows why'}.`}
            {one.happened && ` ${happenedText(one.happened)}`}{' '}
            {one.happened && webhook === undefined && (
              <Link to={to(`/deliveries/${one.delivery_id}`)}>Open the delivery</Link>
            )}
          </p>
        </Notice>
      ))}
    </>
  );
}
