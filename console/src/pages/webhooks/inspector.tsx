/** What arrived at a test URL, as its receiver would see it. */
import { type TestRequest, useTestUrl } from '../../api/test-urls.ts';
import { CodeBlock, visible } from '../../ui/code.tsx';
import { Failure, Notice, Skeleton } from '../../ui/states.tsx';
import { Ago, At } from '../../ui/time.tsx';

export function Inspector({ id }: { id: string }) {
  const found = useTestUrl(id);
  return (
    <section className="card part" aria-label="Test URL">
      <h2>What arrived at the test URL</h2>
      {found.isError && found.data === undefined ? (
        <Failure error={found.error} onRetry={() => void found.refetch()} />
      ) : found.data === undefined ? (
        <Skeleton lines={2} />
      ) : found.data === null ? (
        <Notice kind="warn">
          This test URL has ended: one is kept for an hour. Put the address of your receiver into Settings, or make
          another test URL there.
        </Notice>
      ) : (
        <>
          <p className="muted">
            It shows what a receiver would get, until <At at={found.data.expires_at} />. Only your organization sees it.
          </p>
          {found.data.requests.length === 0 ? (
            <p className="muted test-wait" role="status">
              Nothing has arrived yet. Send a test above, or change a row.
            </p>
          ) : (
            <ol className="plain-list arrived" reversed>
              {found.data.requests.map((request, index) => (
                <li key={request.id}>
                  <Arrived request={request} isOpen={index === 0} />
                </li>
              ))}
            </ol>
          )}
        </>
      )}
    </section>
  );
}

function Arrived({ request, isOpen }: { request: TestRequest; isOpen: boolean }) {
  const { method, body, body_bytes, headers, received_at, remote_ip } = request;
  const cut = body_bytes > body.length;
  return (
    <details open={isOpen}>
      <summary>
        <span className="strong mono">{method}</span> <Ago at={received_at} /> {remote_ip && `from ${remote_ip}`}
      </summary>
      <dl className="pairs mono small">
        {Object.entries(headers).map(([name, value]) => (
          <div key={name}>
            <dt>{visible(name)}</dt>
            <dd className="wrap">{visible(value)}</dd>
          </div>
        ))}
      </dl>
      {body === '' ? (
        <p className="muted">The body is empty.</p>
      ) : (
        <CodeBlock label={cut ? `The beginning of ${body_bytes.toLocaleString('en')} bytes:` : 'Body'} text={body} />
      )}
    </details>
  );
}
