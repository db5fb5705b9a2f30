/**
 * Who looks. At top level the session is a cookie, which no script can read. In a frame of another
 * site no cookie arrives: there it is a token in memory and in sessionStorage.
 */
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useState } from 'react';
import type { Me } from 'rowhook/client';
import { answerOf, asking, client, onRefused, RowhookError, setToken } from '../api/client.ts';
import { Failure, PageLoading } from '../ui/states.tsx';
import { forget, openLink, stored, takeLink } from './open.ts';
import { SignIn, type Why } from './sign-in.tsx';

interface Session {
  me: Me;
  isOperator: boolean;
  /** Whether this visitor may change webhooks. */
  mayWrite: boolean;
  mayKeys: boolean;
  /** Null in a frame: the site around it decides who is signed in. */
  signOut: (() => void) | null;
}

const Context = createContext<Session | null>(null);

export function useSession(): Session {
  const session = useContext(Context);
  if (session === null) throw new Error('useSession: there is no session here.');
  return session;
}

type State = { kind: 'asking' } | { kind: 'in'; me: Me } | { kind: 'out'; why: Why } | { kind: 'failed'; error: Error };

/** Of this page, once: a link works once. */
let opening: Promise<State> | undefined;

async function begin(): Promise<State> {
  const link = takeLink();
  try {
    if (link !== null) return { kind: 'in', me: await openLink(link) };
    setToken(stored());
    return { kind: 'in', me: await answerOf(asking.GET('/api/v1/me')) };
  } catch (error) {
    if (!(error instanceof RowhookError) || error.status !== 401) return { kind: 'failed', error: error as Error };
    const why: Why = link !== null ? 'link' : stored() !== null ? 'ended' : null;
    forget();
    return { kind: 'out', why };
  }
}

export function SessionProvider({ children }: { children: ReactNode }) {
  const cache = useQueryClient();
  const [state, setState] = useState<State>({ kind: 'asking' });

  const start = useCallback(() => {
    opening ??= begin();
    void opening.then(setState);
  }, []);
  useEffect(start, [start]);

  const leave = useCallback(
    (why: Why) => {
      forget();
      cache.clear();
      setState({ kind: 'out', why });
    },
    [cache],
  );
  useEffect(() => onRefused(() => leave('ended')), [leave]);

  // The scopes of a key may change while the page is open.
  const { data: me } = useQuery({
    queryKey: ['me'],
    queryFn: () => answerOf(client.GET('/api/v1/me')),
    enabled: state.kind === 'in',
    refetchInterval: 60_000,
  });
  const known = me ?? (state.kind === 'in' ? state.me : null);
  const session = useMemo<Session | null>(() => {
    if (known === null) return null;
    const { scopes } = known;
    return {
      me: known,
      isOperator: scopes.includes('operator'),
      mayWrite: scopes.includes('write'),
      mayKeys: scopes.includes('keys') || scopes.includes('operator'),
      signOut: isFramed() ? null : () => void asking.DELETE('/api/v1/session').finally(() => leave(null)),
    };
  }, [known, leave]);

  if (state.kind === 'asking') return <PageLoading label="Signing in" />;
  if (state.kind === 'failed')
    return (
      <main className="center">
        <Failure
          error={state.error}
          onRetry={() => {
            opening = undefined;
            start();
          }}
        />
      </main>
    );
  if (state.kind === 'out' || session === null)
    return (
      <SignIn
        why={state.kind === 'out' ? state.why : null}
        isFramed={isFramed()}
        onSignedIn={(signedIn) => {
          cache.clear();
          setState({ kind: 'in', me: signedIn });
        }}
      />
    );
  return <Context value={session}>{children}</Context>;
}

function isFramed(): boolean {
  return window.self !== window.top;
}
