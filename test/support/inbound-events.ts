// Inbound events as the API stores them, without the API.

/**
 * SQL that stores one event, to be used as a table. `tenant`, `name` and `payload` are SQL, too: literals, parameters
 * or columns.
 */
export function receiveSql(tenant: string, name: string, payload = "'1'", address = 'null'): string {
  const sender = `'{null}', '{null}', array[${tenant}], '{null}', array[${address}::inet]`;
  return `rowhook._receive(${sender}, '{1}', array[${name}], array[(${payload})::json], '{"{}"}', '{""}', '{0}', '{}', '{}')`;
}
