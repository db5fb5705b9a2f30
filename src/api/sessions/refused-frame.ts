/**
 * What a frame shows on a site that may not embed the console. The policy of the console already
 * keeps it out of such a frame, but the browser then shows an empty page, and nobody learns why.
 * This page may be framed by everybody: it has no script, no session and nothing to click.
 */
import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ServeSettings } from '../../config/settings.ts';

const STYLE =
  'body{margin:0;padding:24px;font:15px/1.5 system-ui,sans-serif;color:#171b22;background:#f6f7f9}' +
  'h1{font-size:18px}p{max-width:60ch}code{overflow-wrap:anywhere}' +
  '@media(prefers-color-scheme:dark){body{color:#e6e9ee;background:#0e1116}}';

const POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  "base-uri 'none'",
  "form-action 'none'",
  'frame-ancestors *',
  'sandbox',
].join('; ');

const FRAMES = ['iframe', 'frame', 'embed', 'object'];

type Settings = Pick<ServeSettings, 'frameAncestors'>;

/**
 * The site that may not frame this request: its origin, or '' if the browser does not name it.
 * Null: it may, or nobody knows. Then the policy of the console decides in the browser.
 */
export function refusedSite({ headers }: Pick<FastifyRequest, 'headers'>, settings: Settings): string | null {
  if (!FRAMES.includes(String(headers['sec-fetch-dest']))) return null;
  // The frame is shown already, and a link in it was followed.
  if (headers['sec-fetch-site'] === 'same-origin' && settings.frameAncestors.length > 0) return null;
  const site = URL.parse(headers.referer ?? '')?.origin ?? '';
  if (settings.frameAncestors.length === 0) return site;
  return site === '' || settings.frameAncestors.some((allowed) => fits(allowed, site)) ? null : site;
}

/** As a browser compares an origin with a source of the policy. */
function fits(allowed: string, origin: string): boolean {
  const [, scheme, wildcard, host = '', port] =
    /^(https?):\/\/(\*\.)?([^:/]+|\[[^\]]+\])(?::(\d+|\*))?$/.exec(allowed) ?? [];
  const { protocol, hostname, port: actual } = new URL(origin);
  // A browser lets https in where http is allowed.
  const isScheme = protocol === `${scheme}:` || (scheme === 'http' && protocol === 'https:');
  const isHost = wildcard === undefined ? hostname === host : hostname.endsWith(`.${host}`);
  return isScheme && isHost && (port === '*' || (port ?? '') === actual);
}

export function sendRefusedFrame(reply: FastifyReply, site: string): FastifyReply {
  reply.code(403).removeHeader('x-frame-options');
  reply.headers({
    'content-security-policy': POLICY,
    'cache-control': 'no-store',
    'content-type': 'text/html; charset=utf-8',
  });
  return reply.send(pageOf(site));
}

function pageOf(site: string): string {
  const named =
    site === '' ? 'the origin of this site, such as https://app.example.com,' : `<code>${escapeHtml(site)}</code>`;
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>Not allowed in a frame</title>
<style>${STYLE}</style>
<h1>This site may not show the webhooks here</h1>
<p>The page around this frame is not on the list of sites that may embed the console of rowhook.</p>
<p>Whoever runs rowhook can allow it: add ${named} to <code>ROWHOOK_FRAME_ANCESTORS</code>, and
start <code>rowhook serve</code> again.</p></html>`;
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;').replaceAll("'", '&#39;');
}
