import { Link } from 'react-router';
import type { Attempt } from 'rowhook/client';
import { useOrganization } from '../../layout/organization.ts';
import { StatusBadge } from '../../ui/badge.tsx';
import { codeText, meaningOf } from '../../ui/codes.ts';
import { Cell, Row, Table } from '../../ui/table.tsx';
import { Ago, At, ms, useNow } from '../../ui/time.tsx';

export function AttemptTable({ attempts, fresh }: { attempts: readonly Attempt[]; fresh?: ReadonlySet<string> }) {
  const { to } = useOrganization();
  const now = useNow();
  return (
    <Table label="Attempts" head={['Event', 'Outcome', 'Answer', 'Duration', 'Attempt', 'Time', 'Next attempt']}>
      {attempts.map((attempt) => (
        <Row key={attempt.id} isNew={fresh?.has(attempt.id) ?? false}>
          <Cell name="Event" isMain>
            <Link className="mono clip" to={to(`/deliveries/${attempt.delivery_id}?attempt=${attempt.id}`)}>
              {attempt.event_type}
            </Link>
          </Cell>
          <Cell name="Outcome">
            <span title={meaningOf(attempt.code)}>
              <StatusBadge status={attempt.status} />
            </span>
          </Cell>
          <Cell name="Answer">
            {attempt.response_status ?? <span className="muted small">{codeText(attempt.code)}</span>}
          </Cell>
          <Cell name="Duration" isNumber>
            {ms(attempt.duration_ms)}
          </Cell>
          <Cell name="Attempt" isNumber>
            {attempt.attempt}
          </Cell>
          <Cell name="Time">
            <At at={attempt.attempted_at} />
          </Cell>
          <Cell name="Next attempt">
            {attempt.next_attempt_at && Date.parse(attempt.next_attempt_at) > now ? (
              <Ago at={attempt.next_attempt_at} />
            ) : (
              <span className="muted">–</span>
            )}
          </Cell>
        </Row>
      ))}
    </Table>
  );
}
