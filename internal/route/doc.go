// Package route chooses the way out of a delivery: facts and the platform's policies in, route out. It is pure.
//
// Its door is Choose.
//
// # Not here
//
// From which source of the route's pool: egress. What policies may say: manage.
package route
