package hpc

// never explains the reasons for which a job waits for ever.
var never = map[string]string{
	"PartitionConfig":             "it asks for more than any node of its queue has, and will never start",
	"PartitionNodeLimit":          "it asks for more nodes than its queue has",
	"PartitionTimeLimit":          "its walltime is longer than its queue allows",
	"AssocMaxJobsLimit":           "your account runs as many jobs as it may",
	"QOSMaxJobsPerUserLimit":      "you run as many jobs as you may",
	"InvalidAccount":              "its account is not known",
	"InvalidQOS":                  "its quality of service is not known",
	"JobHeldUser":                 "it is held: scontrol release lets it go",
	"JobHeldAdmin":                "an administrator holds it",
	"ReqNodeNotAvail":             "the nodes it asks for are down or reserved",
	"launch failed requeued held": "it could not be started on its node; it is held",
	"Eqw":                         "it is in an error state and will not start: qstat -explain E -j ID says why",
}

// Explain returns the scheduler's reason, with what it means where that helps.
func Explain(reason string) string {
	if text := never[reason]; text != "" {
		return reason + ": " + text
	}
	return reason
}
