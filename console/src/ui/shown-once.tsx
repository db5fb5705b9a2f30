import type { ReactNode } from 'react';
import { Button } from './button.tsx';
import { CopyButton } from './copy.tsx';

interface ShownOnceProps {
  /** What it is, such as "key". */
  what: string;
  title: string;
  secret: string;
  onDone: () => void;
  children: ReactNode;
}

/** A secret that was just made. Nothing shows it a second time. */
export function ShownOnce({ what, title, secret, onDone, children }: ShownOnceProps) {
  return (
    <section className="card new-secret" aria-label={title}>
      <h2>{title}</h2>
      <p className="muted">{children}</p>
      <div className="secret-line">
        <code className="secret">{secret}</code>
        <CopyButton text={secret} label={`Copy ${what}`} isSmall={false} />
        <Button variant="quiet" onClick={onDone}>
          I have it
        </Button>
      </div>
    </section>
  );
}
