/** An amount of the asset (18 decimals) for people, to the unit but without needless zeros: "12.5". */
export function formatAmount(units: bigint): string {
  const whole = units / 10n ** 18n;
  const fraction = (units % 10n ** 18n).toString().padStart(18, "0").replace(/0+$/, "");
  return fraction === "" ? String(whole) : `${whole}.${fraction}`;
}
