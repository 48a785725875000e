/**
 * What the readers' stream does not get unless DAYBOOK_REDACTION says otherwise. Written for the objects of Stripe's API;
 * names match in the events of every sender, whatever their case, with and without `_` and `-`. The table in
 * ingest/README.md is this one.
 *
 * Left in on purpose: a card's brand, country and funding, failure codes, amounts, ids of Stripe's objects, `metadata` and
 * `description` (their members and texts by the same names and values, though), and the names of products and coupons.
 */
import type { RedactionRule } from '../../shared/redaction.ts';

export interface DefaultRule {
  /** Of events; undefined: all. */
  readonly type?: string;
  readonly keep?: readonly string[];
  readonly remove?: readonly string[];
  readonly why: string;
}

/** In the order in which they are tried: the first that names a member decides. */
export const defaultRules: readonly DefaultRule[] = [
  {
    why: 'names of things that are sold',
    keep: ['product.name', 'product_data.name', 'coupon.name', 'feature.name'],
  },
  { why: 'the same, in events about them', type: 'product.*', keep: ['$.data.*.name'] },
  { why: 'the same, in events about them', type: 'coupon.*', keep: ['$.data.*.name'] },
  { why: 'what a customer has to do next; all else of it opens the payment', keep: ['next_action.type'] },
  {
    why: 'secrets, and links that open without a login',
    remove: [
      ...['client_secret', 'secret', 'access_token', 'refresh_token', 'ephemeral_key', 'password'],
      ...['next_action.*', 'receipt_url', 'hosted_invoice_url', 'invoice_pdf', 'hosted_voucher_url'],
      ...['hosted_instructions_url', 'hosted_regulatory_receipt_url', 'return_url', 'redirect.url', 'sepa_debit.url'],
      ...['bacs_debit.url', 'reset_url'],
    ],
  },
  { why: 'links that open without a login', type: 'checkout.session.*', remove: ['$.data.*.url'] },
  { why: 'links that open without a login', type: 'billing_portal.session.*', remove: ['$.data.*.url'] },
  { why: 'links that open without a login', type: 'identity.verification_session.*', remove: ['$.data.*.url'] },
  {
    why: 'cards',
    remove: [
      ...['last4', 'dynamic_last4', 'fingerprint', 'exp_month', 'exp_year', 'iin', 'cvc', 'card.number'],
      ...['card_number', 'cardholder'],
    ],
  },
  { why: 'cards', type: 'issuing_card.*', remove: ['$.data.*.number'] },
  {
    why: 'bank accounts, and accounts at other payment services',
    remove: [
      ...['account_number', 'routing_number', 'iban', 'iban_last4', 'bic', 'swift_code', 'bank_name', 'bank_code'],
      ...['branch_code', 'sort_code', 'bsb_number', 'institution_number', 'transit_number', 'clabe'],
      ...['account_holder_name', 'account_holder_email', 'account_holder_address', 'bank_address'],
      ...['financial_addresses', 'payer_id', 'payer_details', 'buyer_id', 'cashtag', 'vpa'],
    ],
  },
  {
    why: 'people as a whole: name, address, e-mail, phone, tax ids',
    remove: [
      ...['billing_details', 'customer_details', 'shipping', 'shipping_details', 'customer_shipping', 'owner'],
      ...['collected_information', 'individual', 'verified_outputs', 'provided_details'],
    ],
  },
  {
    why: 'e-mail addresses',
    remove: [
      ...['email', 'email_address', 'receipt_email', 'customer_email', 'customer_email_address', 'payer_email'],
      ...['support_email', 'verified_email', 'recipient_email', 'submitter_email'],
    ],
  },
  {
    why: 'names',
    remove: [
      ...['name', 'first_name', 'middle_name', 'last_name', 'full_name', 'given_name', 'family_name', 'maiden_name'],
      ...['name_kana', 'name_kanji', 'first_name_kana', 'first_name_kanji', 'last_name_kana', 'last_name_kanji'],
      ...['full_name_aliases', 'individual_name', 'business_name', 'customer_name', 'account_name', 'payer_name'],
      ...['recipient_name', 'cardholder_name', 'verified_name', 'username'],
    ],
  },
  {
    why: 'phone numbers',
    remove: ['phone', 'phone_number', 'customer_phone', 'recipient_phone', 'support_phone', 'verified_phone'],
  },
  {
    why: 'addresses',
    remove: [
      ...['address', 'address_kana', 'address_kanji', 'billing_address', 'shipping_address', 'customer_address'],
      ...['registered_address', 'support_address', 'recipient_address', 'verified_address', 'address_line1'],
      ...['address_line2', 'address_city', 'address_state', 'address_zip', 'line1', 'line2', 'street', 'city'],
      ...['postal_code', 'zip'],
    ],
  },
  {
    why: 'IP addresses, and what else tells a device',
    remove: [
      ...['ip', 'ip_address', 'ip_address_location', 'client_ip', 'remote_ip', 'customer_purchase_ip', 'user_agent'],
      ...['device_id', 'device_fingerprint'],
    ],
  },
  {
    why: 'what tells a person to the state',
    remove: [
      ...['dob', 'date_of_birth', 'birth_date', 'ssn', 'ssn_last_4', 'id_number', 'id_number_secondary', 'tax_id'],
      ...['tax_ids', 'customer_tax_ids', 'vat_id', 'registration_number', 'nationality', 'gender', 'sex'],
    ],
  },
  { why: 'what tells a person to the state', type: 'customer.tax_id.*', remove: ['$.data.*.value'] },
  { why: 'what people wrote: evidence of disputes, answers', remove: ['evidence', 'custom_fields', 'comment'] },
];

/** The same as rules of DAYBOOK_REDACTION. */
export function defaultsAsRules(): RedactionRule[] {
  return defaultRules.map(({ type, keep, remove }) => ({
    ...(type === undefined ? {} : { type }),
    ...(keep === undefined ? {} : { keep: [...keep] }),
    ...(remove === undefined ? {} : { remove: [...remove] }),
  }));
}
