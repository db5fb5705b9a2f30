/**
 * Tables. On a narrow screen each row becomes a block with the names of its columns, so the roles
 * are written out: a changed `display` would take them from screen readers.
 */
import type { ReactNode } from 'react';

export function Table({ label, head, children }: { label: string; head: readonly ReactNode[]; children: ReactNode }) {
  return (
    // biome-ignore-start lint/a11y/noRedundantRoles: see above
    <table className="table" role="table" aria-label={label}>
      <thead role="rowgroup">
        <tr role="row">
          {head.map((text, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: columns do not move
            <th key={index} role="columnheader" scope="col">
              {text}
            </th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">{children}</tbody>
    </table>
    // biome-ignore-end lint/a11y/noRedundantRoles: see above
  );
}

export function Row({ isNew, children }: { isNew?: boolean; children: ReactNode }) {
  return (
    // biome-ignore lint/a11y/noRedundantRoles: see above
    <tr role="row" className={isNew ? 'row-new' : undefined}>
      {children}
    </tr>
  );
}

export function Cell({
  name,
  isMain,
  isNumber,
  isWide,
  isLine,
  children,
}: {
  name: string;
  isMain?: boolean;
  isNumber?: boolean;
  /** On a narrow screen it has a line of its own. */
  isWide?: boolean;
  /** On a narrow screen its name stands beside it. */
  isLine?: boolean;
  children: ReactNode;
}) {
  const kind = isMain
    ? 'cell-main'
    : isNumber
      ? 'cell-number'
      : isWide
        ? 'cell-wide'
        : isLine
          ? 'cell-line'
          : undefined;
  return (
    // biome-ignore lint/a11y/noRedundantRoles: see above
    <td role="cell" data-name={name} className={kind}>
      {children}
    </td>
  );
}
