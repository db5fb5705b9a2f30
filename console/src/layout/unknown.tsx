import { isRouteErrorResponse, Link, useRouteError } from 'react-router';
import { Button } from '../ui/button.tsx';
import { Empty } from '../ui/states.tsx';
import { useTitle } from '../ui/title.ts';

/** An address that names no page, and an error of a page itself. */
export function Unknown() {
  useTitle('Not found');
  const error = useRouteError();
  const isBroken = error !== undefined && error !== null && !isRouteErrorResponse(error);
  if (isBroken)
    return (
      <main className="center">
        <Empty
          title="This page has failed"
          action={<Button onClick={() => window.location.reload()}>Load it again</Button>}
        >
          <p>{error instanceof Error ? error.message : String(error)}</p>
          <p className="muted">If it was updated meanwhile, loading it again helps.</p>
        </Empty>
      </main>
    );
  return (
    <Empty title="There is no such page" action={<Link to="/">Go to the first page</Link>}>
      <p>The address may be mistyped, or from another version.</p>
    </Empty>
  );
}
