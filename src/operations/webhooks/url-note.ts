/** Says that a daemon with default settings refuses the URL of a new webhook, and which flags allow it. */
import { compilePolicy, rangeToOpen } from '../../deliver/address-guard.ts';
import { httpProblem, placeProblem } from '../../deliver/url-guard.ts';

const policy = compilePolicy({ allowHttp: false, allowCidrs: [], denyCidrs: [] });
const VERDICT = 'a daemon with default settings does not send to this URL';

/** Null: it sends. A host name is checked only when it is resolved. Pure. */
export function urlNote(url: string): string | null {
  const isPlain = httpProblem(url, policy) !== undefined;
  const place = placeProblem(url, policy);
  const range = place && rangeToOpen(URL.parse(url)?.hostname ?? '', policy);
  if (place !== undefined && range === undefined) return `${VERDICT}: ${place}`;
  if (!isPlain && range === undefined) return null;
  const reasons = [...(isPlain ? ['it is not encrypted'] : []), ...(range ? [`its address is in ${range}`] : [])];
  const flags = [...(isPlain ? ['--allow-http'] : []), ...(range ? [`--allow-cidrs ${range}`] : [])];
  const settings = [
    ...(isPlain ? ['ROWHOOK_ALLOW_HTTP=true'] : []),
    ...(range ? [`ROWHOOK_ALLOW_CIDRS=${range}`] : []),
  ];
  return `${VERDICT}, because ${reasons.join(' and ')}. To allow it: rowhook start ${flags.join(' ')} (${settings.join(', ')}).`;
}
