/** What stands in the place of content: loading, empty, failed. Each keeps the height of a page. */
import type { ReactNode } from 'react';
import { RowhookError } from '../api/client.ts';
import { Button } from './button.tsx';

export function PageLoading({ label = 'Loading' }: { label?: string }) {
  return (
    <main className="center">
      <Loading label={label} />
    </main>
  );
}

/** It appears after a moment, so that quick answers do not flicker. */
export function Loading({ label = 'Loading' }: { label?: string }) {
  return (
    <div className="loading" role="status">
      <span className="spinner" aria-hidden="true" />
      <span>{label}…</span>
    </div>
  );
}

/** Lines in the shape of what comes. */
export function Skeleton({ lines = 6 }: { lines?: number }) {
  return (
    <div className="skeleton" role="status">
      <span className="hidden-text">Loading…</span>
      {Array.from({ length: lines }, (_, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the lines are all alike
        <span key={index} aria-hidden="true" />
      ))}
    </div>
  );
}

export function Empty({ title, children, action }: { title: string; children?: ReactNode; action?: ReactNode }) {
  return (
    <div className="empty">
      <h2>{title}</h2>
      {children}
      {action && <div className="empty-action">{action}</div>}
    </div>
  );
}

const TITLES: Readonly<Record<string, string>> = {
  not_found: 'It is not here',
  forbidden: 'You may not see this',
  rate_limited: 'Too many requests',
  unavailable: 'The database is away',
  unreachable: 'No connection',
};

const REMEDIES: Readonly<Record<string, string>> = {
  not_found: 'It was deleted, its address is wrong, or it belongs to another organization.',
  forbidden: 'Ask whoever runs this for a key with more scopes.',
  rate_limited: 'Wait a minute, then try again.',
  unavailable: 'Deliveries continue by themselves once it is back. Try again in a moment.',
};

export function Failure({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  const { code, message } = error instanceof RowhookError ? error : { code: 'error', message: String(error) };
  return (
    <div className="empty" role="alert">
      <h2>{TITLES[code] ?? 'Something went wrong'}</h2>
      <p>{message}</p>
      {REMEDIES[code] && <p className="muted">{REMEDIES[code]}</p>}
      {onRetry && code !== 'not_found' && (
        <div className="empty-action">
          <Button onClick={onRetry}>Try again</Button>
        </div>
      )}
    </div>
  );
}

export function Notice({ kind, children }: { kind: 'ok' | 'warn' | 'bad' | 'info'; children: ReactNode }) {
  return (
    <div className={`notice notice-${kind}`} role={kind === 'bad' ? 'alert' : 'status'}>
      {children}
    </div>
  );
}
