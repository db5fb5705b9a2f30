import type { ReactNode } from 'react';
import { Link } from 'react-router';
import { useTitle } from './title.ts';

export function PageHead({
  title,
  actions,
  back,
  badge,
  children,
}: {
  title: string;
  actions?: ReactNode;
  back?: { to: string; text: string };
  badge?: ReactNode;
  children?: ReactNode;
}) {
  useTitle(title);
  return (
    <div className="page-head">
      <div className="page-head-text">
        {back && (
          <Link className="back" to={back.to}>
            <span aria-hidden="true">←</span> {back.text}
          </Link>
        )}
        <div className="line">
          <h1 className="clip">{title}</h1>
          {badge}
        </div>
        {children && <div className="muted page-lead">{children}</div>}
      </div>
      {actions && <div className="page-actions">{actions}</div>}
    </div>
  );
}
