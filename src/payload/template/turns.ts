/** Jobs that wait. Tenants take turns, and within a tenant its webhooks do. */

interface Owned {
  readonly tenant: string;
  /** A webhook. */
  readonly owner: string;
}

export class Turns<Job extends Owned> {
  /** By tenant and owner, in the order of their turns. */
  readonly #waiting = new Map<string, Map<string, Job[]>>();

  add(job: Job): void {
    const owners = this.#waiting.get(job.tenant) ?? new Map<string, Job[]>();
    this.#waiting.set(job.tenant, owners);
    const own = owners.get(job.owner);
    if (own) own.push(job);
    else owners.set(job.owner, [job]);
  }

  next(): Job | undefined {
    for (const [tenant, owners] of this.#waiting)
      for (const [owner, jobs] of owners) {
        const job = jobs.shift();
        owners.delete(owner);
        if (jobs.length > 0) owners.set(owner, jobs);
        this.#waiting.delete(tenant);
        if (owners.size > 0) this.#waiting.set(tenant, owners);
        return job;
      }
    return undefined;
  }

  clear(): void {
    this.#waiting.clear();
  }
}
