/** What a replay leaves out, why, and the command that is right for it. */
import type { LeftOut, Range } from '../../operations/history/left-out.ts';
import type { Out } from '../../shared/terminal.ts';

const NOTHING: Readonly<Record<string, string>> = {
  given_up: 'no delivery of that time was given up',
  missed: 'no event of that time was missed',
  all: 'no event of that time',
};

export function printNothing(id: string, only: string, range: Range, left: LeftOut, out: Out): void {
  out.print(`Nothing to replay: ${NOTHING[only]}.`);
  if (only === 'missed' && left.givenUp > 0) {
    const command = `rowhook replay ${id} --since ${range.since} --until ${range.until} --only given_up`;
    out.print(`${left.givenUp} of that time ${were(left.givenUp)} given up. To send ${them(left.givenUp)}: ${command}`);
  }
}

export function printWaiting(id: string, { waiting, first, firstAt, isActive }: LeftOut, out: Out): void {
  if (!isActive) out.print(`The webhook is switched off. Nothing is sent to it until "rowhook webhook enable ${id}".`);
  if (waiting === 0) return;
  const next = firstAt === null || !isActive ? '' : `, the first at ${firstAt.toISOString()}`;
  out.print(
    `Left out: ${waiting} that ${waiting === 1 ? 'waits' : 'wait'} for the next attempt, which comes without a replay${next}: rowhook deliveries --webhook ${id} --state waiting`,
  );
  if (first !== null && isActive) out.print(`To send the first of them now: rowhook replay --delivery ${first}`);
}

function were(count: number): string {
  return count === 1 ? 'was' : 'were';
}

function them(count: number): string {
  return count === 1 ? 'it' : 'them';
}
