// The baseline of the inbound endpoint: a bare Fastify that inserts the body of a request as one row.

import Fastify from 'fastify';
import pg from 'pg';

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: Number(process.env.POOL) });
const app = Fastify();

app.post('/', async (request, reply) => {
  const { rows } = await pool.query('insert into bare (body) values ($1) returning id, received_at', [request.body]);
  reply.code(201);
  return { ...rows[0], payload: request.body };
});

await app.listen({ host: '127.0.0.1', port: 0 });
console.log(JSON.stringify({ port: (app.server.address() as { port: number }).port }));
process.once('SIGTERM', () => process.exit());
