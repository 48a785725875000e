/** `1 event`, `1,024 events`, `0 events`; with endings of its own: `counted(2, 'deliver', 'y', 'ies')`. */
export function counted(count: number, what: string, one = '', many = 's'): string {
  return `${count.toLocaleString('en')} ${what}${count === 1 ? one : many}`;
}
