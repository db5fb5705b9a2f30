/** For operators: who has webhooks, and how they do. */
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Link } from 'react-router';
import { answerOf, client, queryOf } from '../../api/client.ts';
import { useAddress } from '../../ui/address.ts';
import { Badge } from '../../ui/badge.tsx';
import { count } from '../../ui/count.ts';
import { PageHead } from '../../ui/head.tsx';
import { Pager } from '../../ui/pager.tsx';
import { Empty, Failure, Skeleton } from '../../ui/states.tsx';
import { Cell, Row, Table } from '../../ui/table.tsx';
import { SearchField } from '../more/search-field.tsx';

export default function OrganizationsPage() {
  const { get } = useAddress();
  const query = { q: get('q'), cursor: get('cursor') };
  const list = useQuery({
    queryKey: ['organizations', query],
    queryFn: ({ signal }) =>
      answerOf(client.GET('/api/v1/organizations', { params: { query: queryOf(query) }, signal })),
    placeholderData: keepPreviousData,
    refetchInterval: 15_000,
  });
  const rows = list.data?.data ?? [];
  const number = (value: number) => (value === 0 ? <span className="muted">0</span> : count(value));
  return (
    <>
      <PageHead title="Organizations">Each with its webhooks, and how they do. Open one to act in it.</PageHead>
      <div className="toolbar">
        <SearchField label="Search" placeholder="Part of an id or a name" name="q" />
      </div>
      {list.isError ? (
        <Failure error={list.error} onRetry={() => void list.refetch()} />
      ) : list.data === undefined ? (
        <Skeleton />
      ) : rows.length === 0 ? (
        <Empty title={query.q === '' ? 'No organization has a webhook yet' : 'None fits'}>
          <p>
            {query.q === ''
              ? 'An organization appears here with its first webhook.'
              : `No organization has “${query.q}” in its id or name.`}
          </p>
        </Empty>
      ) : (
        <Table label="Organizations" head={['Organization', 'Webhooks', 'Health', 'Waiting', 'Failed']}>
          {rows.map((row) => (
            <Row key={row.id}>
              <Cell name="Organization" isMain>
                <span className="stack">
                  <Link className="strong clip" to={`/o/${encodeURIComponent(row.id)}/webhooks`}>
                    {row.name ?? row.id}
                  </Link>
                  {row.name && <span className="mono small muted clip">{row.id}</span>}
                </span>
              </Cell>
              <Cell name="Webhooks" isNumber>
                {row.webhooks === row.active ? row.webhooks : `${row.active} of ${row.webhooks} active`}
              </Cell>
              <Cell name="Health">
                {row.failing + row.disabled === 0 ? (
                  <Badge tone="ok">Well</Badge>
                ) : (
                  <span className="tags">
                    {row.failing > 0 && <Badge tone="bad">{row.failing} failing</Badge>}
                    {row.disabled > 0 && <Badge tone="bad">{row.disabled} disabled</Badge>}
                  </span>
                )}
              </Cell>
              <Cell name="Waiting" isNumber>
                {number(row.waiting)}
              </Cell>
              <Cell name="Failed" isNumber>
                {number(row.failed)}
              </Cell>
            </Row>
          ))}
        </Table>
      )}
      <Pager next={list.data?.next_cursor ?? null} isLoading={list.isPlaceholderData} />
    </>
  );
}
