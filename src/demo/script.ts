/** The demo's statements in plain SQL, and the events that each statement must cause. */

/** The organization of all rows of the demo. */
export const TENANT = { id: 'ac3e0000-0000-4000-8000-000000000001', name: 'Acme', slug: 'acme' };

/** The receiver refuses the first of these once, so that a retry is seen. */
export const REFUSED_ONCE = 'notes.created';

/** The linear schedule's delay before the first retry. */
export const RETRY_SECONDS = 1;

export interface Step {
  says: string;
  /** Run and printed unchanged. */
  sql: string;
  /** In any order, except that the events of one row keep their order. */
  events: readonly string[];
}

export const SCRIPT: readonly Step[] = [
  {
    says: 'One row.',
    sql: `insert into clients (organization_id, name, industry)
values ('${TENANT.id}', 'Northwind', 'logistics')`,
    events: ['clients.created'],
  },
  {
    says: 'Several rows in one statement.',
    sql: `insert into contacts (organization_id, client_id, first_name, last_name)
select c.organization_id, c.id, p.first_name, p.last_name
  from clients c, (values ('Ada', 'Byrne'), ('Tom', 'Okafor')) as p (first_name, last_name)`,
    events: ['contact.created', 'contact.created'],
  },
  {
    says: 'Three deals.',
    sql: `insert into deals (organization_id, contact_id, title, value)
select c.organization_id, c.id, d.title, d.value
  from contacts c, (values ('Fleet renewal', 48000), ('Cold storage', 12500.50), ('Routes', 7900)) as d (title, value)
 where c.last_name = 'Byrne'`,
    events: ['deal.created', 'deal.created', 'deal.created'],
  },
  {
    says: 'One change can make two events. Here the stage changes.',
    sql: "update deals set stage = 'won' where title = 'Fleet renewal'",
    events: ['deal.updated', 'deal.stage.changed'],
  },
  {
    says: 'An assignment.',
    sql: `update deals set assigned_to = gen_random_uuid() where title = 'Cold storage'`,
    events: ['deal.updated', 'deal.assigned'],
  },
  {
    says: 'An update of several rows makes one event per row, with the old values.',
    sql: "update deals set value = value * 1.1 where stage = 'new'",
    events: ['deal.updated', 'deal.updated'],
  },
  {
    says: 'An assignment that also changes another column.',
    sql: "update contacts set assigned_to = gen_random_uuid(), phone = '+353 1 555 0100' where last_name = 'Okafor'",
    events: ['contact.updated', 'contact.assigned'],
  },
  {
    says: 'A transaction on two tables. Its events are sent when it commits.',
    sql: `begin;
update clients set status = 'customer' where name = 'Northwind';
insert into projects (organization_id, client_id, name)
select organization_id, id, 'Onboarding' from clients where name = 'Northwind';
commit`,
    events: ['clients.updated', 'projects.created'],
  },
  {
    says: 'An update that changes nothing makes no event. A delete that is rolled back makes none.',
    sql: `update clients set name = name;
begin;
delete from deals;
rollback`,
    events: [],
  },
  {
    says: `The receiver answers 500 once. The delivery is retried after ${RETRY_SECONDS} s.`,
    sql: `insert into notes (organization_id, contact_id, body)
select organization_id, id, 'Call back on Monday' from contacts where last_name = 'Byrne'`,
    events: [REFUSED_ONCE],
  },
  {
    says: 'Two more updates.',
    sql: `update notes set body = 'Call back on Tuesday' where body like 'Call back%';
update projects set status = 'active' where name = 'Onboarding'`,
    events: ['notes.updated', 'projects.updated'],
  },
  {
    says: 'A delete that cascades: it also deletes the deals and the note of the contact.',
    sql: "delete from contacts where last_name = 'Byrne'",
    events: ['contact.deleted', 'deal.deleted', 'deal.deleted', 'deal.deleted', 'notes.deleted'],
  },
  {
    says: 'Another delete. It also sets a column of the remaining contact to null.',
    sql: "delete from clients where name = 'Northwind'",
    events: ['clients.deleted', 'projects.deleted', 'contact.updated'],
  },
];

/** A statement for another event. It needs no row that the script deleted. */
export const TRY_SQL = `insert into deals (organization_id, title, value) values ('${TENANT.id}', 'My own deal', 1)`;
