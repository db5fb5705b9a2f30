/** The organization that a page is about. */
import { useParams } from 'react-router';

export interface OrganizationOfPage {
  /** As it stands in a path of the API. */
  org: string;
  /** Null: the visitor's own. */
  id: string | null;
  /** The address of a page of this organization. */
  to(path: string): string;
  /** The path of the API. */
  api(path: string): string;
}

export function useOrganization(): OrganizationOfPage {
  const { org: id } = useParams();
  const org = id === undefined ? 'me' : encodeURIComponent(id);
  return {
    org,
    id: id ?? null,
    to: (path) => (id === undefined ? path : `/o/${org}${path}`),
    api: (path) => `/v1/${org}${path}`,
  };
}
