/** One attempt: what was sent, what came back, and what to do if it failed. */
import { Link } from 'react-router';
import type { AttemptDetail } from 'rowhook/client';
import { useOrganization } from '../../layout/organization.ts';
import { StatusBadge } from '../../ui/badge.tsx';
import { CodeBlock, visible } from '../../ui/code.tsx';
import { meaningOf, remedyOf } from '../../ui/codes.ts';
import { CopyButton } from '../../ui/copy.tsx';
import { At, ms } from '../../ui/time.tsx';

export function AttemptView({ attempt, isLinked }: { attempt: AttemptDetail; isLinked?: boolean }) {
  const { to } = useOrganization();
  const { request, response } = attempt;
  return (
    <article className="attempt" aria-label={`Attempt ${attempt.attempt}`}>
      <div className={`card attempt-head attempt-${attempt.status}`}>
        <div className="stack grow">
          <span className="line">
            <StatusBadge status={attempt.status} />
            {attempt.response_status !== null && <span className="strong">HTTP {attempt.response_status}</span>}
            <span className="muted">{ms(attempt.duration_ms)}</span>
          </span>
          <p>
            <span className="strong">{meaningOf(attempt.code)}</span> {remedyOf(attempt.code)}
          </p>
          {attempt.error && <p className="mono small wrap">{visible(attempt.error)}</p>}
          <p className="muted small">
            Attempt {attempt.attempt}, <At at={attempt.attempted_at} />
            {attempt.remote_ip && `, to ${attempt.remote_ip}`}
            {attempt.next_attempt_at && (
              <>
                . Next attempt: <At at={attempt.next_attempt_at} />
              </>
            )}
          </p>
        </div>
        <div className="line">
          {attempt.curl && <CopyButton text={attempt.curl} label="Copy as curl" />}
          {isLinked && <Link to={to(`/deliveries/${attempt.delivery_id}`)}>Open the delivery</Link>}
        </div>
      </div>
      <div className="sides">
        <section className="card side-card" aria-label="Request">
          <h3>Request</h3>
          <p className="mono small wrap">
            {request.method} {visible(request.url)}
          </p>
          <HeaderList headers={request.headers} />
          {request.body === null ? (
            <p className="muted">{request.note ?? 'There is no body.'}</p>
          ) : (
            <CodeBlock label="Body" text={request.body} />
          )}
        </section>
        <section className="card side-card" aria-label="Response">
          <h3>Response</h3>
          {response === null ? (
            <p className="muted">No answer arrived.</p>
          ) : (
            <>
              <p className="mono small">HTTP {response.status}</p>
              <HeaderList headers={response.headers} />
              {response.body ? (
                <CodeBlock label="Body" text={response.body} />
              ) : (
                <p className="muted">The body is empty.</p>
              )}
            </>
          )}
        </section>
      </div>
    </article>
  );
}

function HeaderList({ headers }: { headers: Record<string, string> | null }) {
  const entries = Object.entries(headers ?? {});
  if (entries.length === 0) return null;
  return (
    <details>
      <summary>{entries.length === 1 ? '1 header' : `${entries.length} headers`}</summary>
      <dl className="pairs mono small">
        {entries.map(([name, value]) => (
          <div key={name}>
            <dt>{visible(name)}</dt>
            <dd className="wrap">
              <bdi>{visible(value)}</bdi>
            </dd>
          </div>
        ))}
      </dl>
    </details>
  );
}
