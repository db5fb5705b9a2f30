/** How to receive, verify and debug, where one needs it. */
import { useQuery } from '@tanstack/react-query';
import { lazy, Suspense } from 'react';
import { Link } from 'react-router';
import { answerOf, client } from '../../api/client.ts';
import { useOrganization } from '../../layout/organization.ts';
import { CopyButton } from '../../ui/copy.tsx';
import { PageHead } from '../../ui/head.tsx';
import { Failure, Loading } from '../../ui/states.tsx';

const Receivers = lazy(() => import('../webhooks/receivers.tsx'));

const ANSWERS: readonly (readonly [answer: string, what: string])[] = [
  ['2xx', 'We are done, whatever the body is.'],
  ['410', 'We disable the webhook. Somebody must switch it on again.'],
  ['429, 503', 'We wait as long as Retry-After says, at least a minute after 429.'],
  ['3xx', 'We follow no redirect: the attempt failed.'],
  ['anything else, or nothing in time', 'We retry: after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h.'],
];

export default function HelpPage() {
  const { to } = useOrganization();
  return (
    <>
      <PageHead title="Help">
        How to receive webhooks, to check that they are ours, and to find out what went wrong.
      </PageHead>
      <section className="card part">
        <h2>Receive</h2>
        <ol className="steps">
          <li>
            <strong>Verify the raw body</strong>, the bytes as they arrived, before anything parses them.
          </li>
          <li>
            <strong>Answer 2xx quickly.</strong> Store the event, answer, and do slow work afterwards.
          </li>
          <li>
            <strong>Expect an event more than once.</strong> The header <code>webhook-id</code> is the same each time.
          </li>
          <li>
            <strong>Read large numbers with care.</strong> They arrive with all their digits; JavaScript and PHP round
            them.
          </li>
        </ol>
      </section>
      <section className="card part">
        <h2>What your answer means</h2>
        <dl className="pairs">
          {ANSWERS.map(([answer, what]) => (
            <div key={answer}>
              <dt>{answer}</dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
      </section>
      <Egress />
      <section className="card part">
        <h2>Verify</h2>
        <p className="muted">
          Each request has a <code>webhook-signature</code>, as Standard Webhooks describes it. These programs are
          complete: start one, and give its address to a webhook.
        </p>
        <Suspense
          fallback={
            <div className="receivers-loading">
              <Loading />
            </div>
          }
        >
          <Receivers />
        </Suspense>
      </section>
      <section className="card part">
        <h2>Find out what went wrong</h2>
        <ul className="steps">
          <li>
            Something failed: <Link to={to('/deliveries')}>Deliveries</Link> has what waits and what failed. Each says
            why, and what to do.
          </li>
          <li>
            Nothing came: find the event in <Link to={to('/events')}>Events</Link> and choose Explain. If it is not
            there, no webhook wanted it at that time.
          </li>
          <li>
            The signature does not match: open the delivery, and verify it there with the secret that your receiver has.
          </li>
          <li>
            It worked yesterday: <Link to={to('/changes')}>Changes</Link> has who changed what.
          </li>
        </ul>
      </section>
    </>
  );
}

/** For whoever must open a firewall for us. */
function Egress() {
  const egress = useQuery({
    queryKey: ['egress'],
    queryFn: ({ signal }) => answerOf(client.GET('/api/v1/egress-ips', { signal })),
    staleTime: Number.POSITIVE_INFINITY,
  });
  const addresses = egress.data?.data ?? [];
  return (
    <section className="card part" aria-label="Addresses">
      <h2>The addresses that we send from</h2>
      {egress.isError ? (
        <Failure error={egress.error} onRetry={() => void egress.refetch()} />
      ) : egress.data === undefined ? (
        <Loading />
      ) : addresses.length === 0 ? (
        <p className="muted">
          They are not listed here. Ask whoever runs rowhook, if your firewall needs them. The signature shows that a
          request is ours, wherever it comes from.
        </p>
      ) : (
        <>
          <p className="muted">
            Let them in where a firewall stands in front of your receiver. Verify the signature all the same.
          </p>
          <ul className="tags plain-list">
            {addresses.map((address) => (
              <li key={address} className="tag mono">
                {address}
              </li>
            ))}
          </ul>
          <div>
            <CopyButton text={addresses.join('\n')} label="Copy all" />
          </div>
        </>
      )}
    </section>
  );
}
