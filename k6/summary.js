/** For `handleSummary`: k6's figures as JSON, into a file if one is named, else to standard output. */
export function summaryTo(file) {
  return (data) => ({ [file || 'stdout']: JSON.stringify(data, undefined, 2) });
}
