import { type FormEvent, useState } from 'react';
import type { Me } from 'rowhook/client';
import { RowhookError } from '../api/client.ts';
import { Button } from '../ui/button.tsx';
import { TextField } from '../ui/field.tsx';
import { Logo } from '../ui/icons.tsx';
import { useTitle } from '../ui/title.ts';
import { signIn } from './open.ts';

/** Why there is no session. Null: there was none. */
export type Why = 'ended' | 'link' | null;

interface SignInProps {
  why: Why;
  isFramed: boolean;
  onSignedIn: (me: Me) => void;
}

const SENTENCES = {
  ended: 'Your session has ended: its time is over, or it was revoked.',
  link: 'This link does not work. It can be opened once, within 5 minutes.',
} as const;

export function SignIn({ why, isFramed, onSignedIn }: SignInProps) {
  useTitle('Sign in');
  const [value, setValue] = useState('');
  const [problem, setProblem] = useState('');
  const [isBusy, setBusy] = useState(false);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const key = value.trim();
    if (key === '') return setProblem('Paste a key. It begins with rhk_.');
    if (!/^[\x21-\x7e]+$/.test(key)) return setProblem('A key has no blanks and no special characters. Copy it again.');
    setBusy(true);
    setProblem('');
    try {
      onSignedIn(await signIn(key));
    } catch (error) {
      setBusy(false);
      setProblem(
        error instanceof RowhookError && error.status === 401
          ? 'This key is not accepted. It may be mistyped, expired or revoked. Ask whoever gave it to you for a new one.'
          : (error as Error).message,
      );
    }
  };

  // In the settings of another application nobody should type a key: a site that looks like it could ask, too.
  if (isFramed)
    return (
      <main className="center">
        <div className="card sign-in">
          <Logo />
          <h1>Sign in</h1>
          <p role="status">{why === null ? 'There is no session here.' : SENTENCES[why]}</p>
          <p className="muted">Load the page around this one again: it makes a new link.</p>
        </div>
      </main>
    );
  return (
    <main className="center">
      <form className="card sign-in" onSubmit={submit} noValidate>
        <Logo />
        <h1>Sign in</h1>
        {why !== null && problem === '' ? (
          <p className="notice notice-warn" role="status">
            {SENTENCES[why]} Go back to the application that you came from and open the link there again, or sign in
            here.
          </p>
        ) : (
          <p className="muted">See your webhooks, what was delivered, and why something was not.</p>
        )}
        <TextField
          label="API key"
          type="password"
          value={value}
          onChange={setValue}
          autoComplete="off"
          autoFocus
          error={problem}
          placeholder="rhk_…"
        />
        <Button type="submit" variant="primary" isBusy={isBusy} isWide>
          Sign in
        </Button>
        <details className="muted small">
          <summary>Where do I get one?</summary>
          <p>Whoever runs rowhook makes it in a shell:</p>
          <pre className="code wrap">rowhook api-key create --tenant acme --name console</pre>
        </details>
      </form>
    </main>
  );
}
