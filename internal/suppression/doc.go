// Package suppression decides who must not be mailed, why, and until when: which failures put an address on the
// suppression list, and which entries of the list hold for a delivery.
//
// Its doors are CauseOf (does this event count at all), Rules.Decide (does it, with what went before, put the address on
// the list) and Match (do these entries forbid this delivery). Form and Subject say how addresses are compared.
//
// The table of causes, with the defaults of Default:
//
//	invalid-recipient  at once; but two failures 24 h apart if the address took mail in the last 90 days, or while
//	                   its receiver answers so unusually often
//	invalid-domain     two failures 24 h apart
//	inactive           two in 30 days; for 180 days
//	mailbox-full       on three distinct days in 30; for 30 days
//	complaint          at once, the account's bulk stream
//	unsubscribe        at once, the account's bulk stream
//	anything else      never
//
// Everything that speaks for the address weighs more than what speaks against it: mail it took after a failure makes
// that failure void; several failures of one delivery count once; a report that only matches suppresses on a second one;
// a refusal that was understood by a vague rule counts for nothing.
//
// Guarantees: pure functions of facts and time, safe for concurrent use. Automatic entries never have platform scope.
//
// # Not here
//
// What a refusal means: bounce. Following events and writing entries: feedback. The list itself, its filter in memory,
// import and export: manage. Its tables: store.
package suppression
