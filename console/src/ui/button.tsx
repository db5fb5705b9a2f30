import type { ButtonHTMLAttributes, ReactNode } from 'react';
import { Link, type LinkProps } from 'react-router';

export interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  variant?: 'primary' | 'plain' | 'danger' | 'quiet';
  /** The label stays, so that nothing moves. */
  isBusy?: boolean;
  isWide?: boolean;
  isSmall?: boolean;
  children: ReactNode;
}

export function Button({ variant = 'plain', isBusy, isWide, isSmall, disabled, children, ...rest }: ButtonProps) {
  const classes = ['button', `button-${variant}`, isWide && 'button-wide', isSmall && 'button-small'];
  return (
    <button
      type="button"
      {...rest}
      className={classes.filter(Boolean).join(' ')}
      disabled={disabled || isBusy}
      aria-busy={isBusy || undefined}
    >
      {children}
      {isBusy && <span className="spinner" aria-hidden="true" />}
    </button>
  );
}

export function ButtonLink({ isSmall, ...rest }: LinkProps & { isSmall?: boolean }) {
  return <Link {...rest} className={`button button-plain${isSmall ? ' button-small' : ''}`} />;
}
