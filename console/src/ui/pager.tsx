import { useAddress } from './address.ts';
import { Button } from './button.tsx';
import { Empty } from './states.tsx';

/** Pages by cursor: a log of a million rows has no page numbers. "Back" of the browser goes to newer ones. */
export function Pager({ next, isLoading }: { next: string | null; isLoading: boolean }) {
  const { get, set } = useAddress();
  const cursor = get('cursor');
  if (cursor === '' && next === null) return null;
  return (
    <nav className="pager" aria-label="More rows">
      <Button isSmall disabled={cursor === ''} onClick={() => set({ cursor: '' })}>
        Newest
      </Button>
      <Button isSmall disabled={next === null} isBusy={isLoading} onClick={() => set({ cursor: next ?? '' })}>
        Older
      </Button>
    </nav>
  );
}

/** A page looks at 20,000 rows at most: an empty one does not mean that there are none. */
export function NoneSoFar({ next }: { next: string }) {
  const { set } = useAddress();
  return (
    <Empty title="None so far" action={<Button onClick={() => set({ cursor: next })}>Look further back</Button>}>
      <p>None of the newest 20,000 rows fits. Older ones may.</p>
    </Empty>
  );
}
