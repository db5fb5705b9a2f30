/** The organization that a page is about. */
import { useMemo } from 'react';
import { useParams } from 'react-router';

export interface OrganizationOfPage {
  /** As the API calls it. */
  org: string;
  path: { org: string };
  /** Null: the visitor's own. */
  id: string | null;
  /** The address of a page of this organization. */
  to(path: string): string;
  /** A key in the cache. Without parts: of everything of this organization. */
  key(...parts: unknown[]): unknown[];
}

export function useOrganization(): OrganizationOfPage {
  const { org: id } = useParams();
  return useMemo(() => {
    const org = id ?? 'me';
    return {
      org,
      path: { org },
      id: id ?? null,
      to: (path) => (id === undefined ? path : `/o/${encodeURIComponent(id)}${path}`),
      key: (...parts) => ['of', id ?? null, ...parts],
    };
  }, [id]);
}
