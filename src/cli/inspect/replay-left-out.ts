/** Says what a replay leaves out, and which command sends that instead. */
import type { LeftOut, Range } from '../../operations/history/left-out.ts';
import type { Out } from '../../shared/terminal.ts';

const NOTHING: Readonly<Record<string, string>> = {
  given_up: 'no delivery of this time range was given up',
  missed: 'no event of this time range was missed',
  all: 'there is no event in this time range',
};

export function printNothing(id: string, only: string, range: Range, left: LeftOut, out: Out): void {
  out.print(`Nothing to replay: ${NOTHING[only]}.`);
  if (only === 'missed' && left.givenUp > 0) {
    const command = `rowhook replay ${id} --since ${range.since} --until ${range.until} --only given_up`;
    out.print(`${deliveries(left.givenUp, 'was', 'were')} given up. To send ${them(left.givenUp)}: ${command}`);
  }
}

export function printWaiting(id: string, { waiting, first, firstAt, isActive }: LeftOut, out: Out): void {
  if (!isActive)
    out.print(`The webhook is switched off. Nothing is sent to it until you run "rowhook webhook enable ${id}".`);
  if (waiting === 0) return;
  const due = firstAt === null || !isActive ? '' : ` The next one is due at ${firstAt.toISOString()}.`;
  out.print(`${deliveries(waiting, 'is', 'are')} left out, because the next attempt needs no replay.${due}`);
  out.print(`To list ${them(waiting)}: rowhook deliveries --webhook ${id} --state waiting`);
  if (first !== null && isActive) {
    const which = waiting === 1 ? 'it' : 'the next one';
    out.print(`To send ${which} now: rowhook replay --delivery ${first}`);
  }
}

function deliveries(count: number, is: string, are: string): string {
  return count === 1 ? `1 delivery ${is}` : `${count} deliveries ${are}`;
}

function them(count: number): string {
  return count === 1 ? 'it' : 'them';
}
