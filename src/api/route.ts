/**
 * How a route is made. The order of checks is the same for all: the token, its organization, its
 * scope, then the request itself.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions as FastifyRoute } from 'fastify';
import type pg from 'pg';
import type { Caller, Credential, Scope } from './auth.ts';
import { parseBody } from './body.ts';
import { invalid, Problem, toProblem } from './problem.ts';
import { compileValidator, Problem as ProblemSchema, type Static, type TSchema } from './schema.ts';
import type { Service } from './service.ts';
import { enter } from './transaction.ts';

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface RouteSchema {
  summary: string;
  description?: string;
  params?: TSchema;
  querystring?: TSchema;
  /** Headers that the document names. They are optional, and their handler checks them. */
  headers?: TSchema;
  body?: TSchema;
  /** The answers by status, without those of errors. */
  response: Record<number, TSchema>;
}

type Part<S, K extends string> = S extends { [key in K]: infer T extends TSchema } ? Static<T> : Record<string, never>;

export interface Call<S extends RouteSchema> {
  /** The transaction of this request, as rowhook_api and with the tenant set. */
  tx: pg.ClientBase;
  caller: Caller;
  /** The organization of the path. In a route of no organization: ''. */
  organization: string;
  params: Part<S, 'params'>;
  query: Part<S, 'querystring'>;
  body: Part<S, 'body'>;
  request: FastifyRequest;
  /** For a status other than 200, and for headers. */
  reply: FastifyReply;
  service: Service;
  /** What came as a token. */
  credential: Credential;
}

/** What remains of an answer when the transaction has committed. */
export class Later<T> {
  readonly finish: (again: Again) => Promise<T>;

  /** `again` runs its work in a further transaction of the same caller. Between two there is none. */
  constructor(finish: (again: Again) => Promise<T>) {
    this.finish = finish;
  }
}

export type Again = <T>(work: (tx: pg.ClientBase) => Promise<T>) => Promise<T>;

export interface RouteOptions<S extends RouteSchema> {
  /** Under /api. */
  path: string;
  method: Method;
  /** The caller needs one of these; by default read for GET, else write. */
  scopes?: readonly Scope[];
  /** By default a GET is. */
  readOnly?: boolean;
  /** The route is about the organization of the token, although its path names none. */
  ofToken?: boolean;
  /** Only an API key or a JWT may: a session gives nothing to others, and nothing that outlives it. */
  noSessions?: boolean;
  /** What stands for a token in a request that has none in a header. */
  credentialOf?: (request: FastifyRequest) => Credential | null;
  tag: string;
  /** False: the OpenAPI document leaves the route out. */
  isListed?: boolean;
  schema: S;
  /** True: the body has data of an application, which may have any number of values. */
  hasData?: boolean;
  /** Fields that a client may send back as it got them. They are not looked at. */
  ignored?: readonly string[];
}

type Answer<S extends RouteSchema> = S['response'][keyof S['response']] extends infer T extends TSchema
  ? Static<T>
  : never;

/** A body is parsed and checked once the token is verified: a large one takes long. */
const BODY_LATER: object = {
  validatorCompiler: (part: { httpPart: string }) =>
    part.httpPart === 'body' ? () => true : compileValidator(part as never),
};

/** The handler returns the body of the answer. It is sent after the transaction has committed. */
export function route<const S extends RouteSchema>(
  app: FastifyInstance,
  service: Service,
  options: RouteOptions<S>,
  run: (call: Call<S>) => Promise<Answer<S> | Later<Answer<S>>>,
): void {
  const { path, method, tag, schema, ignored = [] } = options;
  const scopes = options.scopes ?? (method === 'GET' ? ['read'] : ['write']);
  const readOnly = options.readOnly ?? method === 'GET';
  const hide = options.isListed === false;
  const checkBody =
    schema.body && (compileValidator({ schema: schema.body, method, url: path, httpPart: 'body' }) as CheckBody);
  const organizationOf = (org: string | undefined) => (path.includes('/:org') ? org : options.ofToken ? 'me' : null);
  const made: FastifyRoute = {
    url: `/api${path}`,
    method,
    // Without this, a request without a token would learn what is wrong with it.
    attachValidation: true,
    ...BODY_LATER,
    // A body may have the token itself.
    onRequest: async (request) => {
      if (method !== 'GET' && !options.credentialOf) await service.refuseBlocked(request);
    },
    schema: {
      ...schema,
      hide,
      tags: [tag],
      operationId: operationId(method, path),
      // The token needs one of these.
      'x-scopes': scopes,
      response: withErrors(schema.response),
    },
    handler: async (request, reply) => {
      // No organization has a NUL in its id, and PostgreSQL no text.
      const org = (request.params as { org?: string }).org?.replaceAll('\0', '\ufffd');
      const credential = await service.credentialOf(request, { otherwise: options.credentialOf });
      const access = {
        organization: organizationOf(org) ?? null,
        scopes,
        readOnly,
        address: service.addressOf(request),
      };
      // Of a token that was accepted before, a request above the limit costs the database nothing.
      const counted = service.tokens.has(credential) ? await service.countRequest(request) : null;
      const work = async ({ tx, caller, organization }: Parameters<Parameters<typeof enter>[3]>[0]) => {
        request.caller = caller;
        if (credential.kind === 'key' && caller.keyId !== null) service.noteUsed(caller.keyId);
        reply.headers(counted ?? (await service.countRequest(request)));
        if (options.noSessions && caller.sessionId !== null && credential.kind === 'key')
          throw new Problem('forbidden', 'A session may not do this. Send an API key.');
        requireValid(request);
        readBody(request, ignored, checkBody, options.hasData ? 'data' : undefined);
        const { params, query, body } = request as unknown as Pick<Call<S>, 'params' | 'query' | 'body'>;
        const about = { tx, caller, organization: organization ?? '', credential, service };
        const call = { ...about, params, query, body, request, reply };
        return run(call);
      };
      const first = await enter(service, credential, access, work).catch((error: unknown) => {
        const problem = toProblem(error);
        if (problem.status === 401) return service.refuse(request, problem);
        throw error;
      });
      const again: Again = (more) => enter(service, credential, access, ({ tx }) => more(tx));
      const answer = first instanceof Later ? await first.finish(again) : first;
      if (reply.statusCode !== 204) return answer;
      return reply.send();
    },
  };
  app.route(made);
}

/** Every route may end with these. */
function withErrors(response: Record<number, TSchema>): Record<string, TSchema> {
  return { ...response, '4xx': ProblemSchema, '5xx': ProblemSchema };
}

/** GET /v1/:org/outgoing-webhooks/:id → getOutgoingWebhooksById */
function operationId(method: string, path: string): string {
  const words = path.split('/').filter((part) => part !== '' && part !== 'v1' && part !== ':org');
  const named = words.map((word) => (word.startsWith(':') ? `By-${word.slice(1)}` : word));
  return [method.toLowerCase(), ...named.flatMap((word) => word.split(/[\W_]+/))]
    .map((word, index) => (index === 0 ? word : word.charAt(0).toUpperCase() + word.slice(1)))
    .join('');
}

function forget(body: unknown, ignored: readonly string[]): unknown {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return body;
  return Object.fromEntries(Object.entries(body).filter(([field]) => !ignored.includes(field)));
}

interface Wrong {
  keyword: string;
  instancePath: string;
  message?: string;
  params?: { additionalProperties?: string[]; requiredProperties?: string[] };
}

type CheckBody = (value: unknown) => { error?: Wrong[] };

/** Wrong JSON is 422, and what is not JSON 400. */
function readBody(
  request: FastifyRequest,
  ignored: readonly string[],
  check: CheckBody | undefined,
  kind?: 'data',
): void {
  const bytes = request.body;
  let body: unknown;
  if (Buffer.isBuffer(bytes) && bytes.length > 0) {
    const parsed = parseBody(bytes, kind);
    if ('problem' in parsed) throw parsed.problem;
    body = ignored.length > 0 ? forget(parsed.value, ignored) : parsed.value;
    request.bodyText = bytes.toString();
  }
  request.body = body;
  const { error } = check?.(body === undefined ? null : body) ?? {};
  if (error) throw invalid(fieldErrors(error));
}

/** A wrong path or query is 400. */
function requireValid(request: FastifyRequest): void {
  const { validationError, bodyProblem } = request;
  if (bodyProblem) throw bodyProblem;
  if (!validationError) return;
  const errors = fieldErrors(validationError.validation as unknown as Wrong[]);
  const texts = errors.map(({ field, message }) => `${field} ${message}`);
  throw new Problem('bad_request', `The request is not valid: ${texts.join('; ')}.`, { errors });
}

/** Limit on errors of an answer, so that it never has megabytes. */
const ERRORS_MAX = 100;

/** One error for each field. The first says most: a union reports each of its parts. */
function fieldErrors(wrong: readonly Wrong[]): { field: string; message: string }[] {
  const all = wrong.slice(0, ERRORS_MAX).flatMap(({ keyword, instancePath, message = 'is not valid', params }) => {
    const at = instancePath.slice(1).replaceAll('/', '.');
    const within = (names: readonly string[], text: string) =>
      names.slice(0, ERRORS_MAX).map((name) => ({ field: at === '' ? name : `${at}.${name}`, message: text }));
    if (keyword === 'additionalProperties') return within(params?.additionalProperties ?? [], 'is not a known field');
    if (keyword === 'boolean') return [{ field: at, message: 'is not a known field' }];
    if (keyword === 'required') return within(params?.requiredProperties ?? [], 'is required');
    return [{ field: at === '' ? 'body' : at, message }];
  });
  return [...new Map(all.reverse().map((error) => [error.field, error])).values()].reverse();
}
