/** State in the address: filters, pages, the selected attempt. */
import { useCallback } from 'react';
import { useSearchParams } from 'react-router';

/** Empty values leave the address. A change of a filter begins at the first page. */
export function useAddress() {
  const [parameters, setParameters] = useSearchParams();
  const get = (name: string) => parameters.get(name) ?? '';
  const set = useCallback(
    (changes: Record<string, string>, { replace = false } = {}) => {
      setParameters(
        (before) => {
          const after = new URLSearchParams(before);
          if (!('cursor' in changes)) after.delete('cursor');
          for (const [name, value] of Object.entries(changes)) {
            if (value === '') after.delete(name);
            else after.set(name, value);
          }
          return after;
        },
        { replace, preventScrollReset: true },
      );
    },
    [setParameters],
  );
  return { get, set };
}
