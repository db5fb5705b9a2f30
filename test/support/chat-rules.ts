// What the chat providers publish of their messages, for tests: the types and limits of @slack/types, the checks of
// @discordjs/builders with the types of discord-api-types, and Microsoft's own reader of Adaptive Cards.

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { type EmbedAuthorOptions, EmbedBuilder, type EmbedFooterOptions, embedLength } from '@discordjs/builders';
import type { ContextBlock, HeaderBlock, SectionBlock } from '@slack/types';
import type { APIEmbed, RESTPostAPIWebhookWithTokenJSONBody } from 'discord-api-types/v10';

const require = createRequire(import.meta.url);
const nodeModules = join(import.meta.dirname, '../../node_modules');

export interface SlackMessage {
  text: string;
  blocks: (HeaderBlock | SectionBlock | ContextBlock)[];
}

const slackTypes = readFileSync(join(dirname(require.resolve('@slack/types')), 'block-kit/blocks.d.ts'), 'utf8');

/** A number of the comment on a field of a type: its sentence ends with it. */
function slackLimit(type: string, field: string, sentence: string): number {
  const [, members = ''] = new RegExp(`export interface ${type} [^{]*\\{([\\s\\S]*?)\\n\\}`).exec(slackTypes) ?? [];
  const [before] = members.split(new RegExp(`\\n    ${field}\\??:`)) as [string];
  const comment = before.slice(before.lastIndexOf('/**')).replaceAll(/\s+\*?\s*/g, ' ');
  const [, limit] = new RegExp(`${sentence} (\\d+)`).exec(comment) ?? [];
  if (limit === undefined) throw new Error(`@slack/types no longer says of ${type}.${field}: ${sentence}`);
  return Number(limit);
}

const SLACK = {
  header: slackLimit('HeaderBlock', 'text', 'Maximum length for the text in this field is'),
  fields: slackLimit('SectionBlock', 'fields', 'Maximum number of items is'),
  field: slackLimit('SectionBlock', 'fields', 'Maximum length for the text in each item is'),
  elements: slackLimit('ContextBlock', 'elements', 'Maximum number of items is'),
  text: slackLimit('SectionBlock', 'text', 'maximum length is'),
  /** These two stand in the pages of chat.postMessage only. */
  ...{ message: 40_000, blocks: 50 },
};

function within(what: string, value: number, most: number): string[] {
  return value >= 1 && value <= most ? [] : [`${what}: ${value} of 1 to ${most}`];
}

export function slackProblems({ text, blocks }: SlackMessage): string[] {
  return [
    ...within('text', text.length, SLACK.message),
    ...within('blocks', blocks.length, SLACK.blocks),
    ...blocks.flatMap((block) => {
      if (block.type === 'header') return within('header', block.text.text.length, SLACK.header);
      const [what, texts, most, length] =
        block.type === 'section'
          ? (['fields', block.fields ?? [], SLACK.fields, SLACK.field] as const)
          : (['elements', block.elements, SLACK.elements, SLACK.text] as const);
      const each = texts.flatMap((one) =>
        'text' in one ? within(what, one.text.length, length) : [`${what}: no text`],
      );
      return [...within(what, texts.length, most), ...each];
    }),
  ];
}

/** What the setters of the builder refuse, and what a message may have in all. */
export function discordProblems({ content, embeds = [], ...rest }: RESTPostAPIWebhookWithTokenJSONBody): string[] {
  const problems = content === undefined ? [] : within('content', content.length, 2_000);
  if (JSON.stringify(rest.allowed_mentions) !== '{"parse":[]}') problems.push('mentions are allowed');
  for (const embed of embeds as APIEmbed[]) {
    try {
      const { title = null, timestamp, footer = null, author = null, fields = [] } = embed;
      new EmbedBuilder()
        .setTitle(title)
        .setTimestamp(timestamp === undefined ? null : new Date(timestamp))
        .setFooter(footer as EmbedFooterOptions | null)
        .setAuthor(author as EmbedAuthorOptions | null)
        .addFields(fields);
      // The builder counts no characters of blank texts, and Discord refuses them.
      for (const { name, value } of fields) if (!name.trim() || !value.trim()) problems.push('a blank field');
    } catch (error) {
      problems.push(String(error));
    }
  }
  const all = (embeds as APIEmbed[]).reduce((sum, embed) => sum + embedLength(embed), 0);
  return [...problems, ...within('embeds', all, 6_000)];
}

interface TeamsMessage {
  type: string;
  attachments: { contentType: string; content: object }[];
}

const TEAMS_BYTES_MAX = 28 * 1_024;

/** Elements and values that are not of version 1.4, which Teams reads. */
export function teamsProblems(message: TeamsMessage): string[] {
  // The bundle: the modules need a bundler.
  const cards = require('adaptivecards/dist/adaptivecards.min.js') as typeof import('adaptivecards');
  const ofCards = message.attachments.flatMap(({ contentType, content }) => {
    const card = new cards.AdaptiveCard();
    const context = new cards.SerializationContext(cards.Versions.v1_4);
    card.parse(content, context);
    const read = Array.from({ length: context.eventCount }, (_, n) => context.getEventAt(n).message);
    const found = card.validateProperties().validationEvents.map((event) => event.message);
    const type = contentType === 'application/vnd.microsoft.card.adaptive' ? [] : [contentType];
    return [...type, ...read, ...found];
  });
  const bytes = Buffer.byteLength(JSON.stringify(message));
  return [
    ...(message.type === 'message' ? [] : [message.type]),
    ...ofCards,
    ...within('bytes', bytes, TEAMS_BYTES_MAX),
  ];
}

/** What the compiler says of messages: fields that are missing, unknown, or of another type. */
export async function typeProblems(slack: readonly unknown[], discord: readonly unknown[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'rowhook-chat-'));
  try {
    await symlink(nodeModules, join(folder, 'node_modules'));
    await writeFile(
      join(folder, 'messages.ts'),
      `import type { KnownBlock } from '@slack/types';
       import type { RESTPostAPIWebhookWithTokenJSONBody } from 'discord-api-types/v10';
       export const slack: { text: string; blocks: KnownBlock[] }[] = ${JSON.stringify(slack)};
       export const discord: RESTPostAPIWebhookWithTokenJSONBody[] = ${JSON.stringify(discord)};`,
    );
    const compilerOptions = { strict: true, noEmit: true, skipLibCheck: true, types: [], module: 'nodenext' };
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['messages.ts'] }));
    const compiler = join(nodeModules, 'typescript/bin/tsc');
    return await promisify(execFile)(process.execPath, [compiler, '-p', folder]).then(
      () => '',
      (error: { stdout: string }) => error.stdout,
    );
  } finally {
    await rm(folder, { recursive: true });
  }
}
