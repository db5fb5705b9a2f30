/** Every write of a daemon checks that it still owns the lanes that it writes for. */

export class LanesLost extends Error {
  constructor() {
    super('another daemon has taken over some of the lanes');
  }
}

/** The owner, its lanes, and the epoch of each lane. */
export type Fence = readonly [owner: string, lanes: number[], epochs: string[]];

/** Selects the lanes that the owner still owns. It keeps them until the transaction ends. */
export const FENCE = `
  select l.lane from rowhook.webhook_lanes l
    join unnest($2::smallint[], $3::bigint[]) as mine (lane, epoch) using (lane, epoch)
   where l.owner = $1 order by l.lane for share of l`;
