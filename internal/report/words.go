package report

// The words by which mails without structure are told apart. All are lower case; texts are lowered, and line ends
// and runs of spaces made one space, before they are searched. Languages: en de fr es it pt nl pl ru ja zh ko, and
// some of sv da no fi cs hu tr.

// failureWords tell that something was not delivered.
var failureWords = newWordSet(
	"could not be delivered", "couldn't be delivered", "cannot be delivered", "can't be delivered", "can not be delivered",
	"wasn't able to deliver", "was not able to deliver", "weren't able to deliver", "were not able to deliver", "unable to deliver", "message has been deleted", "mail has been deleted", "message was deleted", "message has been blocked", "was blocked by", "has been quarantined", "message was blocked", "addresses failed", "address(es) failed", "recipients failed",
	"was unable to deliver", "not been delivered", "was not delivered", "were not delivered", "wasn't delivered", "not delivered to", "is not delivered", "message not delivered", "mail not delivered", "email not delivered",
	"did not reach", "didn't reach", "has not reached", "could not reach", "could not be reached", "failed permanently", "permanent error", "permanent fatal error", "fatal error",
	"delivery failed", "delivery failure", "delivery has failed", "failed to deliver", "delivery to the following", "undeliverable", "undelivered",
	"non-delivery", "nondeliver", "non deliver", "returned to sender", "returned to you", "returned mail", "returning message to sender", "failed recipient", "failed address",
	"had delivery errors", "delivery error", "error delivering", "errors delivering", "trouble delivering", "problem delivering", "problems delivering", "error while delivering",
	"could not deliver", "couldn't deliver", "cannot deliver", "can't deliver", "failure notice", "failed delivery", "delivery problem", "not deliverable",
	"mail system error", "error sending your mail", "error in sending", "could not be sent", "couldn't be sent", "could not send", "cannot be sent", "unable to send", "failed to send",
	"was rejected", "were rejected", "automatically rejected", "has been rejected", "message rejected", "rejected your message", "rejected the following", "delivery status notification (failure)", "message bounced", "mail bounced", "bounced back", "bounce message",
	"could not be processed", "unknown user", "user unknown", "no such user", "mailbox exceeds", "not be accepted", "error during delivery", "recipient unknown", "invalid user address", "exceeded maximum delivery attempts",
	"may not exist", "was refused", "undeliver", "error description:", "did not receive a copy", "not listed in domino", "no valid recipients", "were invalid", "invalid recipients", "are not a member of this", "not member of this", "you are not a member", "not member article", "are not member", "rejected posting", "not authorized to send", "not allowed to post", "refused to accept your message",
	"konnte nicht zugestellt", "konnte nicht ausgeliefert", "konnten nicht zugestellt", "nicht zugestellt", "unzustellbar", "zustellung fehlgeschlagen", "fehler bei der zustellung", "nicht zustellbar", "zustellfehler", "übermittlung fehlgeschlagen", "nicht übermittelt", "konnte nicht versendet",
	"n'a pas pu être remis", "n'a pas pu être délivré", "n'a pas été remis", "pas pu être livré", "échec de la remise", "échec de remise", "non remis", "impossible de remettre", "non distribué", "échec de distribution", "n'a pas été distribué", "n'a pu être", "pas pu être distribué", "échec de livraison", "message refusé",
	"no se pudo entregar", "no se ha podido entregar", "no pudo ser entregado", "no ha podido ser entregado", "no entregado", "no entregable", "error de entrega", "fallo en la entrega", "error al entregar", "correo devuelto", "no se puede entregar", "no fue entregado", "falló la entrega",
	"non è stato possibile recapitare", "impossibile recapitare", "mancato recapito", "non recapitabil", "consegna fallita", "mancata consegna", "non è stato consegnato", "non può essere consegnato", "impossibile consegnare", "errore di consegna",
	"não pôde ser entregue", "não pode ser entregue", "não foi possível entregar", "não entregue", "falha na entrega", "falha de entrega", "mensagem devolvida", "não foi entregue", "erro na entrega", "não puderam ser entregues",
	"kon niet worden bezorgd", "kon niet worden afgeleverd", "onbestelbaar", "niet afgeleverd", "niet bezorgd", "bezorging mislukt", "kan niet worden bezorgd", "aflevering mislukt",
	"nie można dostarczyć", "nie mogła zostać dostarczona", "nie dostarczono", "niedostarczon", "nie została dostarczona", "nie udało się dostarczyć", "nie może być dostarczona", "niedoręczon",
	"не доставлено", "не может быть доставлен", "не удалось доставить", "недоставлен", "невозможно доставить", "ошибка доставки", "не было доставлено", "не доставлен", "не может быть отправлен", "недоставк",
	"配信できません", "送信できません", "配送できません", "届けることができません", "配信不能", "送信エラー", "配信エラー", "配送エラー", "届けできません", "送信に失敗", "配信に失敗", "戻され",
	"无法投递", "退信", "投递失败", "无法发送", "发送失败", "未能送达", "无法送达", "無法投遞", "無法傳送", "传输失败", "未送达", "無法送達", "被退回", "邮件传输失败",
	"배달되지", "전송 실패", "전송에 실패", "반송", "전달되지", "전송하지 못", "배달할 수 없",
	"kunde inte levereras", "kunne ikke leveres", "kunne ikke afleveres", "ikke leveret", "olevererad", "toimitus epäonnistui", "ei voitu toimittaa", "nelze doručit", "nedoručiteln", "nedoručen", "nem kézbesíthető", "kézbesíthetetlen", "teslim edilemedi", "iletilemedi",
)

// deliveryStems are the beginnings of words for delivering in tongues of which failureWords knows few sentences; negations those
// of words for not, unable or failed. One of these right before one of those tells the same, if a mail system says it.
var (
	deliveryStems = []string{"doruč", "dostarcz", "doręcz", "dostav", "isporuč", "достав", "παραδ", "παράδ", "livr", "lever", "toimit", "kézbes", "kirim", "hantar", "piegād", "prista", "נמסר", "למסור", "מסיר", "تسليم", "توصيل", "إرسال", "ส่ง", "gửi", "chuyển"}
	negations     = newWordSet(" ikke ", " inte ", "mislyk", "misslyc", " ei ", "epäonn", " nemoh", " nebyl", " nelze", " nepoda", "selha", " nie ", " nije ", " ni ", " nu ", "eșuat", "esuat", " не ", "δεν ", "αδυναμία", "αποτυχ", "αδύνατ", " nem ", " tidak ", "gagal", " nevar", " nepa", "לא ", "נכשל", "تعذر", "لم ", "فشل", "ไม่", "không ")
)

// reportSubjects stand in the subject of a report without saying what it reports.
var reportSubjects = newWordSet(
	"delivery status", "delivery notification", "delivery report", "mail delivery", "message delivery", "message status", "status notification", "non-delivery", "nondelivery", "mail system error", "mail error", "error report", "warning--", "mail failure", "message failure", "rejected mail", "undelivered", "virus", "prohibited content", "quarantined", "blocked message", "message blocked", "mail blocked",
)

// delayWords tell that it is still being tried.
var delayWords = newWordSet(
	"not yet been delivered", "not been delivered yet", "warning message only", "has been delayed", "have been delayed", "delivery attempts will continue", "message will be retried", "will be retried for",
	"message delayed", "delivery delayed", "delayed delivery", "could not send mail for past", "could not send message for past", "could not send for", "transient non-fatal", "transient errors", "transient error", "continue to try", "will keep trying", "keep trying", "still trying",
	"do not need to resend", "don't need to resend", "delivery status notification (delay)", "still undelivered after", "will continue to be", "delivery is delayed", "is delayed", "temporarily delayed", "still being retried", "will try again", "will retry", "delay in delivery", "delayed mail", "warning: could not send", "delayed: ",
	"verzögert", "verspätet", "wird weiterhin versucht", "retardé", "a été différé", "est différée", "retard de remise", "se ha retrasado", "retrasado", "demora en la entrega", "è in ritardo", "ritardo nella consegna", "ritardata", "está atrasad", "atrasada", "atraso na entrega", "vertraagd", "opóźnion", "задержана", "задерживается", "задержка доставки", "配信が遅れ", "遅延", "延迟", "延遲", "지연",
)

// finalWords tell that nobody tries any more.
var finalWords = newWordSet(
	"permanent error", "permanent fatal", "failed permanently", "permanent failure", "given up", "giving up", "gave up", "delayed too long", "not going to try again", "will not be retried", "permanently", "returned to sender", "(failure)",
)

// autoSubjects begin, or stand in, the subject of an automatic answer.
var autoSubjects = newWordSet(
	"out of office", "out of the office", "out-of-office", "automatic reply", "auto reply", "auto-reply", "autoreply", "auto:", "auto response", "auto-response", "autorespons", "automated reply", "automated response", "automatic response", "automatically generated reply", "away message", "away from my", "away from the office", "away notice", "vacation", "on holiday", "holiday notice", "annual leave", "maternity leave", "on leave", "leave notice", "absence notice", "ooo:", "ooo re:", "[ooo]", "[auto", "(auto)", "i am away", "i'm away", "is away", "vacation reply", "not in the office", "acknowledgement of receipt", "automatic answer", "autoreplied", "no longer with",
	"automatische antwort", "automatische rückantwort", "abwesenheit", "abwesend", "nicht im büro", "nicht im haus", "urlaub", "außer haus", "autoantwort", "auto-antwort", "eingangsbestätigung", "automatische email-antwort", "automatische e-mail",
	"réponse automatique", "reponse automatique", "message d'absence", "absence du bureau", "absent du bureau", "absente du bureau", "absent(e)", "en congé", "congés", "accusé de réception", "hors du bureau", "absence :", "absence:", "en vacances",
	"respuesta automática", "respuesta automatica", "fuera de la oficina", "fuera de oficina", "ausencia", "vacaciones", "autorespuesta", "auto respuesta", "acuse de recibo", "contestación automática",
	"risposta automatica", "fuori sede", "fuori ufficio", "assenza", "assente", "in ferie", "fuori dall'ufficio", "risponditore automatico",
	"resposta automática", "resposta automatica", "fora do escritório", "fora do escritorio", "ausência", "férias", "auto-resposta", "ausente",
	"automatisch antwoord", "automatische reactie", "afwezig", "niet op kantoor", "niet aanwezig", "vakantie", "ontvangstbevestiging",
	"automatyczna odpowiedź", "automatyczna odpowiedz", "odpowiedź automatyczna", "nieobecność", "nieobecnosc", "poza biurem", "urlop", "autoodpowiedź", "autoodpowiedz",
	"автоматический ответ", "автоответ", "отсутств", "в отпуске", "нет на месте", "нет в офисе", "вне офиса",
	"自動応答", "自動返信", "不在通知", "不在の", "不在です", "不在のお知らせ", "休暇",
	"自动回复", "自動回覆", "自动答复", "自動回復", "不在办公室", "休假", "外出通知", "假期自动",
	"부재중", "부재 중", "자동 응답", "자동응답", "자동 회신", "자동회신",
	"autosvar", "automatiskt svar", "automatisk svar", "frånvaro", "frånvarande", "fravær", "ikke til stede", "ferie", "semester", "ikke på kontoret", "automaattinen vastaus", "poissa toimistosta", "lomalla", "automatická odpověď", "automatická odpoveď", "mimo kancelář", "nepřítomn", "dovolená", "otomatik yanıt", "otomatik cevap", "ofis dışında", "automatikus válasz", "házon kívül", "răspuns automat", "αυτόματη απάντηση", "εκτός γραφείου", "מענה אוטומטי", "автоматична відповідь", "автовідповідь", "trả lời tự động", "ตอบกลับอัตโนมัติ", "balasan otomatis", "jawapan automatik", "automatski odgovor", "samodejni odgovor", "automaatvastus", "automātiskā atbilde", "automatinis atsakymas", "автоматичен отговор", "sjálfvirkt svar", "الرد التلقائي", "رد تلقائي",
)

// autoBodies stand in the text of an automatic answer.
var autoBodies = newWordSet(
	"out of the office", "out of office", "i am currently out", "i'm currently out", "i am currently away", "i'm currently away", "i will be out", "i'll be out", "i will be away", "i am away", "i'm away", "limited access to", "no access to", "without access to", "when i return", "upon my return", "after my return", "i will return", "i'll be back", "i will be back", "on vacation", "on annual leave", "on maternity leave", "on parental leave", "on leave until", "away from my desk", "away from my", "away from the office", "on holiday", "automatic reply", "automatically generated reply", "auto-reply", "autoreply", "auto reply", "automated reply", "automated response", "automatic response", "autoresponder", "your message has been received", "has been received and", "we have received your", "we received your", "i have received your", "have received your e", "will get back to you", "will respond to", "will reply to", "will answer your", "respond as soon as", "reply as soon as", "thank you for contacting", "thanks for contacting", "thank you for your e-mail", "thank you for your email", "thank you for your message", "thanks for your e", "thank you for writing", "in urgent cases", "for urgent matters", "if your matter is urgent", "if it is urgent", "in case of emergency", "no longer with the company", "no longer work", "i no longer", "have left the company", "has left the company", "have changed jobs", "my new address", "my new email", "my new e-mail", "please contact my colleague",
	"nicht im büro", "nicht im haus", "im urlaub", "bin ich wieder", "wieder im büro", "wieder erreichbar", "nicht erreichbar", "in dringenden fällen", "nicht weitergeleitet", "automatische antwort", "vielen dank für ihre", "danke für ihre", "wir haben ihre", "abwesend", "abwesenheit", "nach meiner rückkehr",
	"je suis absent", "je suis actuellement", "je serai absent", "je serai de retour", "de retour le", "en cas d'urgence", "absent du bureau", "absente du bureau", "en congé", "réponse automatique", "nous avons bien reçu", "merci pour votre message", "merci de votre message", "dès mon retour", "à mon retour",
	"estoy fuera", "estaré fuera", "me encuentro fuera", "fuera de la oficina", "a mi regreso", "de vacaciones", "respuesta automática", "hemos recibido su", "gracias por contactar", "gracias por su mensaje", "en caso de urgencia", "estaré de vuelta", "mi regreso",
	"sono fuori", "sarò assente", "sono assente", "al mio rientro", "in ferie", "risposta automatica", "abbiamo ricevuto", "grazie per averci", "fuori ufficio", "per urgenze",
	"estou ausente", "estarei ausente", "fora do escritório", "de férias", "em férias", "resposta automática", "recebemos a sua", "recebemos sua", "obrigado por", "em caso de urgência", "meu retorno", "meu regresso",
	"ik ben afwezig", "ben ik weer", "niet aanwezig", "niet op kantoor", "op vakantie", "automatisch antwoord", "wij hebben uw", "bedankt voor uw", "bij dringende", "ik ben weer",
	"jestem nieobecn", "będę nieobecn", "na urlopie", "poza biurem", "automatyczna odpowiedź", "dziękujemy za", "dziękuję za wiadomość", "otrzymaliśmy", "w pilnych sprawach", "po powrocie",
	"меня нет", "в отпуске", "буду отсутствовать", "отсутствую", "нет на рабочем месте", "автоматический ответ", "автоматическое", "ваше письмо получено", "ваше сообщение получено", "мы получили ваше", "спасибо за ваше", "в срочных случаях", "вернусь",
	"不在にして", "不在です", "休暇", "自動応答", "自動返信", "自動で", "お問い合わせ", "受け付けました", "メールを受信しました", "お返事",
	"不在办公", "休假", "自动回复", "自動回覆", "尽快回复", "盡快回覆", "已收到您的", "已收到你的", "我会尽快", "收到您的邮件",
	"부재중", "부재 중", "휴가", "자동 응답", "자동응답", "자동으로", "접수되었습니다", "회신",
)

// challengeWords ask the sender to prove to be a person.
var challengeWords = newWordSet(
	"confirm that you are", "confirm you are", "verify that you are a human", "verify that you are", "prove that you are", "prove you are human", "you are a real person", "are human", "challenge-response", "challenge/response", "challenge response", "sender verification", "verify your email address by", "verify your e-mail address by", "to verify yourself", "confirm your message", "confirm your email", "confirm your e-mail", "reply to this message to confirm", "simply reply to this", "reply to this confirmation", "confirm the delivery", "confirm delivery of your", "approve your message", "message is being held", "being held until", "held until you", "held pending", "has been held", "held for confirmation", "until you confirm", "before your message can be delivered", "deliver your message", "release your message", "one-time", "one time verification", "guest list", "waitlisted", "approved sender", "list of approved", "senders i have approved", "i have not approved", "request form", "once i approve", "allowed senders list", "whitelist", "white list", "anti-spam system", "antispam system", "spam protection", "request for authorization", "please confirm", "authenticate yourself", "click the link below", "click on the link below", "click here to", "enter the code", "enter the characters",
	"bestätigen sie", "absenderbestätigung", "bestätigung ihrer", "confirmer votre", "veuillez confirmer", "confirme su", "confirmar su", "verificación del remitente", "conferma del mittente", "confermare il", "confirmação do remetente", "confirmar o envio", "confirme sua", "anti-spam uol", "bevestig uw", "potwierdź", "potwierdzenie nadawcy", "подтвердите", "подтверждение отправителя", "確認してください", "认证您", "请确认", "验证您的",
)

// challengeSubjects stand in the subject of a challenge.
var challengeSubjects = newWordSet(
	"please confirm your message", "confirm your message", "confirm your email", "confirm your e-mail", "confirmation required", "verification required", "sender verification", "verify your", "email verification", "challenge", "message held", "message being held", "your message is on hold", "awaiting confirmation", "authorization request", "(action required)", "please confirm", "confirm delivery", "action required to deliver", "anti-spam", "antispam", "need to confirm", "requires confirmation", "requires verification",
	"bestätigung erforderlich", "bitte bestätigen", "confirmation requise", "confirmation nécessaire", "veuillez confirmer", "confirmación necesaria", "confirme su", "conferma richiesta", "confirmação necessária", "confirmação de envio", "bevestiging vereist", "potwierdź", "wymagane potwierdzenie", "подтвердите", "подтверждение", "確認のお願い", "请确认",
)
